"""Whatever makes a statement wait: it says for whom, and stops with an error that names who it is."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from analytics_pipeline.database import connect, migrate
from analytics_pipeline.events.record import new_event, record_events
from analytics_pipeline.fx.csv_rates import read_rates
from analytics_pipeline.fx.rate_store import store_rates
from analytics_pipeline.messages.sending import send_due
from analytics_pipeline.metrics.tables import REVENUE_METRICS, close_metric
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale import waiting
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.policies import change_policies
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.timescale.waiting import LockTimeoutError
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events_factory import add_event

needs_server = pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session")

DAY = Window(datetime(2025, 1, 5, tzinfo=UTC), datetime(2025, 1, 6, tzinfo=UTC))
HOURLY = AGGREGATES[0]
EVENT = new_event(
    "acme",
    "u1",
    "payment.received",
    "revenue",
    "10.00",
    "EUR",
    event_id="7b0a62ac-6a0f-4f7c-9a55-3d9b1f6f0c11",
    timestamp="2025-01-05T10:00:00Z",
)
RATES = read_rates(b"rate_date,base,quote,rate\n2025-01-03,EUR,USD,1.03\n", "rates.csv")

# Who waits, and what another session has done in the transaction that it leaves open.
WAITS: dict[str, tuple[str, Callable[[Connection], object]]] = {
    "rates": ("SELECT analytics_lock_changes(false)", lambda c: store_rates(c, [RATES])),
    "figures": (
        "SELECT analytics_lock_changes(false)",
        lambda c: close_metric(c, REVENUE_METRICS, Granularity.DAY, DAY, "EUR"),
    ),
    "a refresh of the same aggregate": (
        f"SELECT pg_advisory_lock(7261941, hashtext('{HOURLY.name}'))",
        lambda c: refresh(c, HOURLY, DAY),
    ),
    "a refresh, inside TimescaleDB": (
        "LOCK TABLE _timescaledb_catalog.continuous_aggs_invalidation_threshold IN ACCESS EXCLUSIVE MODE",
        lambda c: refresh(c, HOURLY, DAY),
    ),
    "an event that another session records": (
        'INSERT INTO analytics_events (event_id, "timestamp", company_id, event_type, category) VALUES '
        "('7b0a62ac-6a0f-4f7c-9a55-3d9b1f6f0c11', '2025-01-05T10:00:00Z', 'acme', 'payment.received', 'revenue')",
        lambda c: record_events([EVENT], connection=c),
    ),
    "mails": (
        "LOCK TABLE analytics_outbox IN ACCESS EXCLUSIVE MODE",
        lambda c: send_due(c, {}, domain="example.com"),
    ),
    "policies": (
        "LOCK TABLE analytics_policies IN ROW EXCLUSIVE MODE",
        lambda c: change_policies(c, server_info(c), {}),
    ),
    "a migration": ("SELECT pg_advisory_lock(7261940001)", lambda c: migrate()),
}


@needs_server
@pytest.mark.parametrize("who", WAITS)
def test_whoever_waits_says_for_whom_and_stops_in_the_end(
    database: Database, environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, who: str
) -> None:
    held, work = WAITS[who]
    environment.setenv("ANALYTICS_LOCK_TIMEOUT", "1")
    environment.setattr(waiting, "SAY_AFTER", 0.3)
    get_settings.cache_clear()
    with connect(get_settings(), autocommit=True) as worker, database.connect() as other:
        add_event(worker, "2025-01-05T09:00")
        other.execute("SET application_name = 'a notebook'")
        other.execute(held.encode())
        holder = f"process {other.info.backend_pid} (user {other.info.user}, application a notebook, from"
        with pytest.raises(LockTimeoutError) as failure:
            work(worker)
        assert f"SELECT pg_terminate_backend({other.info.backend_pid});" in str(failure.value)
        # It can go on with its connection.
        assert worker.execute("SELECT 1").fetchone() == (1,)
    said = [record.message for record in caplog.records if record.message.startswith("Has waited")]
    for text in (str(failure.value), *said):
        assert holder in text
        assert "in a transaction since 20" in text
        assert f"last statement: {held[:100]}" in text
    # Once, and not at every look.
    assert len(said) == 1


@needs_server
def test_what_others_wait_for_is_named_and_not_who_waits_with_us(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a reader waits a change of the table, and behind that the next reader."""
    said: list[str] = []
    monkeypatch.setattr(waiting, "SAY_AFTER", 0.2)
    change = "ALTER TABLE analytics_fx_rates ADD COLUMN note text"
    with (
        database.connect() as reader,
        psycopg.connect(database.url, autocommit=True) as changing,
        connect(database.settings, autocommit=True, lock_timeout=2, on_wait=said.append) as next_reader,
    ):
        reader.execute("SELECT FROM analytics_fx_rates")
        changing.pgconn.send_query(change.encode())
        _until_waiting(next_reader, changing.info.backend_pid)
        with pytest.raises(LockTimeoutError, match=f"process {reader.info.backend_pid} "):
            next_reader.execute("SELECT FROM analytics_fx_rates")
        changing.close()
    assert all("a lock on analytics_fx_rates" in line and change not in line for line in said)
    assert said


@needs_server
def test_the_statements_after_one_that_has_waited_too_long_for_a_session_do_not_wait_so_long_for_it_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the steps of a run would wait one after the other: nine of a day, ten minutes each."""
    monkeypatch.setattr(waiting, "SAY_AFTER", 0.3)
    statement = "LOCK TABLE analytics_fx_rates IN SHARE MODE"
    with database.connect() as other:
        other.execute("LOCK TABLE analytics_fx_rates")
        for seconds in (1, 3600):
            with connect(database.settings, autocommit=True, lock_timeout=seconds) as connection:
                with pytest.raises(LockTimeoutError, match=f"process {other.info.backend_pid} "):
                    connection.execute(f"DO $$ BEGIN {statement}; END $$".encode())
                assert connection.execute("SELECT 1").fetchone() == (1,)
        other.rollback()
        # The same session in another transaction is waited for anew.
        other.execute("LOCK TABLE analytics_fx_rates")
        with (
            connect(database.settings, autocommit=True, lock_timeout=2) as connection,
            pytest.raises(LockTimeoutError, match="Waited 2 s"),
        ):
            connection.execute(f"DO $$ BEGIN {statement}; END $$".encode())


@needs_server
def test_what_is_refused_at_once_is_no_wait_that_has_ended(database: Database) -> None:
    """Such as TimescaleDB's answer to a refresh beside another one, which a step's retry policy repeats."""
    with database.connect() as other, database.connect(autocommit=True) as connection:
        other.execute("LOCK TABLE analytics_fx_rates")
        with pytest.raises(psycopg.errors.LockNotAvailable), connection.transaction():
            connection.execute("LOCK TABLE analytics_fx_rates NOWAIT")


@needs_server
@pytest.mark.slow
def test_a_command_says_on_standard_error_what_it_waits_for_after_ten_seconds(
    database: Database, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("ANALYTICS_LOCK_TIMEOUT", "12")
    (tmp_path / "rates.csv").write_text("rate_date,base,quote,rate\n2025-01-03,EUR,USD,1.03\n")
    with database.connect() as other:
        other.execute("SELECT analytics_lock_changes(false)")
        command = [sys.executable, "-m", "analytics_pipeline", "fx", "load", str(tmp_path / "rates.csv")]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    said, error = run.stderr.strip().splitlines()
    assert run.returncode == 1
    assert said.startswith("Has waited 10 s for its turn (an advisory lock), held by process")
    assert error.startswith("Error: Waited 12 s for its turn (an advisory lock), held by process")
    assert all("SELECT analytics_lock_changes(false)" in line for line in (said, error))


def _until_waiting(connection: Connection, pid: int) -> None:
    query = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
    while connection.execute(query, [pid]).fetchone() != ("Lock",):
        pass
