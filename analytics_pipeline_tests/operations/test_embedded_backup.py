"""The embedded databases, copied while they run and restored into another home."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.embedded import EmbeddedPostgres, EmbeddedTimescale
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import fetch_row
from analytics_pipeline_tests.conftest import SERVER_URL, Database

pytestmark = pytest.mark.skipif(SERVER_URL is not None, reason="the tests run on a server: this is about the embedded")


@pytest.fixture
def other_home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "other"
    yield home
    EmbeddedTimescale(home).stop()
    EmbeddedPostgres(home).stop()


def _run(*arguments: str) -> Result:
    get_settings.cache_clear()
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.slow
def test_a_copy_of_the_embedded_databases_holds_all_of_them_in_another_home(
    source: Database, embedded_home: Path, other_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANALYTICS_DATABASE_URL")
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    storage = EmbeddedPostgres(embedded_home, durable=False)
    storage.start()
    try:
        with psycopg.connect(storage.url) as connection:
            connection.execute("CREATE TABLE runs AS SELECT n AS id FROM generate_series(1, 50) AS n")
        result = _run("backup", str(tmp_path / "place"), "--json")
        with psycopg.connect(storage.url) as connection:
            connection.execute("DROP TABLE runs")
    finally:
        storage.stop()
    assert result.exit_code == 0, result.output
    backup = json.loads(result.stdout)["backup"]
    with psycopg.connect(source.url) as connection:
        query = 'SELECT * FROM analytics_events ORDER BY "timestamp", event_id'
        events = connection.execute(query).fetchall()
    # The server it was copied from is none the worse.
    assert len(events) == 18
    assert "The embedded database is not empty" in _run("restore", backup, "--without-dagster").output

    monkeypatch.setenv("ANALYTICS_HOME", str(other_home))
    result = _run("restore", backup, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["differences"] == []
    assert [policy["procedure"] for policy in found["switchedOff"]] == ["policy_compression"]
    assert sorted(path.name for path in other_home.iterdir()) == ["postgres", "timescaledb"]
    server = EmbeddedTimescale(other_home)
    server.start()
    with psycopg.connect(server.url, prepare_threshold=None) as connection:
        assert connection.execute(query).fetchall() == events
        chunks = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
        assert fetch_row(connection, chunks)[0] > 0
        jobs = "SELECT count(*) FROM timescaledb_information.jobs WHERE job_id >= 1000 AND scheduled"
        assert fetch_row(connection, jobs) == (0,)
    with psycopg.connect(EmbeddedPostgres(other_home).url) as connection:
        assert fetch_row(connection, "SELECT count(*), sum(id) FROM runs") == (50, 1275)
