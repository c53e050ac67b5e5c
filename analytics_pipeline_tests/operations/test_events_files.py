"""Events as Parquet files, and back by ordinary ingestion."""

import json
from pathlib import Path

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.events.record import new_event, record_events
from analytics_pipeline.operations.places import list_backups
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import Database

EXACT = "12345678901234567890.123456789012345678"


@pytest.fixture
def place(database: Database, environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The place of an export; the rejects of its way back go into a home of the test's own."""
    environment.setenv("ANALYTICS_HOME", str(tmp_path / "home"))
    return tmp_path / "place"


def _run(*arguments: str) -> Result:
    get_settings.cache_clear()
    return CliRunner().invoke(main, list(arguments))


def _events(connection: Connection) -> list[tuple[object, ...]]:
    query = (
        'SELECT event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata '
        "FROM analytics_events ORDER BY event_id"
    )
    return connection.execute(query).fetchall()


@pytest.mark.slow
def test_exported_events_come_back_by_ingestion_once_each_and_what_contradicts_them_is_a_conflict(
    database: Database, place: Path
) -> None:
    with database.connect(autocommit=True) as connection:
        # Ids that are no UUID, a number with more digits than a float has, an event without user and value.
        note = {"note": "Grüße", "n": 0.1}
        payment, revenue = "payment.received", "revenue"
        first, last = "2025-01-05T10:00:00.123456Z", "2025-03-31T23:59:59Z"
        events = [
            new_event("acme", "u1", payment, revenue, EXACT, "EUR", note, event_id="evt_1", timestamp=first),
            new_event("acme", None, "feature.export", "user_activity", timestamp="2025-03-01T00:00Z"),
            new_event("beta", "u2", payment, revenue, "5", "EUR", event_id="evt_3", timestamp=last),
        ]
        record_events(events, connection=connection)
        before = _events(connection)
        assert _run("backup", "--events", str(place)).exit_code == 0
        (backup,) = list_backups(str(place))
        # A month without events has an empty file, so that nobody wonders where it went.
        files = {file.name: file.rows for file in backup.manifest().files}
        assert files == {"events-2025-01.parquet": 1, "events-2025-02.parquet": 0, "events-2025-03.parquet": 2}
        assert pq.read_table(f"{backup.path.path}/events-2025-01.parquet")["value"].to_pylist() == [EXACT]

        connection.execute("DELETE FROM analytics_events WHERE company_id = 'beta'")
        connection.execute("UPDATE analytics_events SET value = 1 WHERE value IS NOT NULL")
        result = _run("restore", backup.location, "--json")
        assert result.exit_code == 3
        found = json.loads(result.stdout)
        assert [found[name] for name in ("read", "new", "alreadyThere", "conflicts")] == [3, 1, 1, 1]

        connection.execute("UPDATE analytics_events SET value = %s WHERE value = 1", [EXACT])
        assert _events(connection) == before
        assert json.loads(_run("restore", backup.location, "--json").stdout)["alreadyThere"] == 3


def test_a_damaged_export_is_named_and_not_ingested(database: Database, place: Path) -> None:
    assert "holds no events: there is nothing to export" in _run("backup", "--events", str(place)).output
    with database.connect(autocommit=True) as connection:
        login = new_event("acme", "u1", "user.login", "user_activity", timestamp="2025-01-05T10:00Z")
        record_events([login], connection=connection)
        assert _run("backup", "--events", str(place)).exit_code == 0
        connection.execute("DELETE FROM analytics_events")
        (backup,) = list_backups(str(place))
        file = Path(backup.path.path) / "events-2025-01.parquet"
        file.write_bytes(file.read_bytes()[:-8] + b"\0" * 8)
        result = _run("restore", backup.location)
        assert result.exit_code == 1
        assert f"{file} is damaged" in result.output
        assert _events(connection) == []
