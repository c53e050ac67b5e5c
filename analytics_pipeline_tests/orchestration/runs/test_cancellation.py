"""A run that is to end ends as cancelled, and its statement with it."""

import signal
from collections.abc import Iterator

import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.commands import is_waiting, locked, running
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events_factory import add_event

pytestmark = pytest.mark.faults

CLOSE = ("close", "--start", "2025-01-05", "--end", "2025-01-06")


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00", value="10")
        yield connection


@pytest.mark.skipif(SERVER_URL is None, reason="only a server can cancel a statement")
@pytest.mark.parametrize(
    ("number", "status", "table"), [(signal.SIGTERM, 143, EVENTS), (signal.SIGINT, 130, "analytics_revenue_metrics")]
)
def test_a_signal_ends_close_cancels_its_run_and_its_statement_and_the_next_one_closes(
    connection: Connection, instance: DagsterInstance, number: signal.Signals, status: int, table: str
) -> None:
    with locked(connection, table), running(*CLOSE) as close:
        close.until(lambda: is_waiting(connection))
        close.send(number)
        code, _, said = close.result()
        run = instance.get_runs(limit=1)[0]
        assert (code, run.status) == (status, DagsterRunStatus.CANCELED), said
        assert said.splitlines() == [
            f"{number.name}: run {run.run_id} is cancelled; what was closed before stays closed; the same command "
            "closes the rest."
        ]
        # The server does not go on: what waits holds locks, too.
        assert not is_waiting(connection)
    attempts = fetch_row(connection, "SELECT max(failed_attempts) FROM analytics_partitions")
    assert attempts[0] in (0, None), "an interruption says nothing against another attempt"
    events = {entry.dagster_event_type for entry in instance.all_logs(run.run_id)}
    assert not events & {DagsterEventType.STEP_UP_FOR_RETRY, DagsterEventType.RUN_FAILURE}
    if number is signal.SIGTERM:
        with running(*CLOSE) as again:
            assert again.result(within=None)[0] == 0


def test_a_statement_that_cannot_be_cancelled_is_left_and_the_run_is_cancelled(
    connection: Connection, instance: DagsterInstance
) -> None:
    """A client of the embedded database waits for its turn as a statement there runs: nothing ends that."""
    with running(*CLOSE) as close:
        close.until(instance.get_runs_count)
        with locked(connection, EVENTS):
            close.send(signal.SIGTERM)
            code, _, said = close.result()
        assert (code, instance.get_runs()[0].status) == (143, DagsterRunStatus.CANCELED), said
    assert fetch_row(connection, "SELECT count(*) FROM analytics_events")[0] == 1
