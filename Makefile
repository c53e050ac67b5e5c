# Every target does all the set-up it needs, and nothing twice.

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Containers often forbid bytecode: every process of the tests and of the demo would compile every module again.
export PYTHONDONTWRITEBYTECODE =

# A worker per core, each with databases of its own; the tests of a module stay together and share theirs
# (_ByModule of analytics_pipeline_tests/conftest.py).
WORKERS ?= auto
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadscope --no-loadscope-reorder

.PHONY: help demo up test test-fast test-faults lint format bench lock clean

help:            ## Show the targets
	@sed -n 's/^\([a-z-]*\): .*## /  make \1	/p' Makefile

demo: $(READY)   ## Run the main job: events, closed partitions, checks, a PDF report
	@$(BIN)/analytics-pipeline demo $(ARGS)

up: $(READY)     ## Start the databases and the Dagster UI
	@$(BIN)/analytics-pipeline up $(ARGS)

test: $(READY)   ## Run the tests on the embedded database, or on the server of ANALYTICS_DATABASE_URL
	@$(PYTEST) $(ARGS)

test-fast: $(READY)  ## Run a selection that touches everything: a first verdict
	@$(PYTEST) -p no:schemathesis -m "not (slow or faults or fuzz or daemon or endurance)" $(ARGS)

test-faults: $(READY)  ## Run the tests that kill processes or wait for time to pass, those that take minutes too
	@$(PYTEST) -m "faults or endurance" $(ARGS)

lint: $(READY)   ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY)  ## Run the benchmarks
	@for file in benchmarks/[!_]*.py; do echo "== $$file"; $(BIN)/python "$$file" $(ARGS) || exit 1; done

lock:            ## Pin every dependency again, for all platforms and Pythons, with hashes
	@$(PYTHON) -m venv --clear .local/lock
	@.local/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.local/lock/bin/uv pip compile --quiet --universal --extra dev --extra kubernetes --extra local --extra scripts --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

clean:           ## Remove the environment and the embedded data
	@-$(BIN)/analytics-pipeline db stop
	rm -rf $(VENV) .local

# The lock file is complete, so pip resolves nothing. The mark is touched last: an interrupted set-up
# is done again.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
