"""Schedules and sensors evaluated as the daemon does, on a real instance: what they ask for is run."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    Definitions,
    RunRequest,
    SensorResult,
    SkipReason,
    build_schedule_context,
    build_sensor_context,
)

from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.metrics.partitions import begin_attempt, record_closed
from analytics_pipeline.orchestration.close import close_span
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.closing.late_events import DefinitionsVersions, reports_behind
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.reconcile import reconcile
from analytics_pipeline.timescale.refresh import materialized_tables
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at

pytestmark = pytest.mark.slow

JANUARY = Window.of_month(date(2025, 1, 1))
DAY = Window.of_dates(date(2025, 1, 5), date(2025, 1, 5))
_MAX_TICKS = 12
_ONE_VERSION = DefinitionsVersions()


class Daemon:
    """Evaluates one sensor tick by tick, as Dagster's daemon does, and runs what it asks for."""

    def __init__(self, definitions: Definitions, instance: DagsterInstance, sensor: str) -> None:
        self._definitions = definitions
        self._instance = instance
        self._sensor = definitions.resolve_sensor_def(sensor)
        self._cursor: str | None = None
        self._seen: set[str] = set()
        self.skipped: list[str] = []

    def tick(self) -> list[RunRequest]:
        """Return what one tick asks for that Dagster would launch: a run key works once."""
        context = build_sensor_context(
            instance=self._instance, cursor=self._cursor, resources=self._definitions.resources
        )
        result = self._sensor(context)
        assert isinstance(result, SensorResult)
        self._cursor = result.cursor or self._cursor
        if isinstance(result.skip_reason, SkipReason) and result.skip_reason.skip_message:
            self.skipped.append(result.skip_reason.skip_message)
        fresh = [r for r in result.run_requests or [] if r.run_key not in self._seen]
        self._seen |= {r.run_key for r in fresh if r.run_key}
        return fresh

    def run(self, request: RunRequest) -> bool:
        """Run a request and tell whether it succeeded."""
        job = self._definitions.resolve_job_def(str(request.job_name))
        return job.execute_in_process(
            instance=self._instance,
            tags=dict(request.tags),
            asset_selection=list(request.asset_selection or []),
            raise_on_error=False,
        ).success

    def until_quiet(self) -> list[RunRequest]:
        """Tick and run until nothing is asked for; return all requests in order."""
        requests: list[RunRequest] = []
        for _ in range(_MAX_TICKS):
            asked = self.tick()
            if not asked:
                return requests
            for request in asked:
                assert self.run(request), request.run_key
            requests += asked
        raise AssertionError(f"still asking after {_MAX_TICKS} ticks")


@pytest.mark.parametrize("outage", [timedelta(hours=6), timedelta(days=3), timedelta(days=61)], ids=str)
def test_after_an_outage_every_missed_partition_is_closed_once_and_in_order(
    database: Database, instance: DagsterInstance, environment: pytest.MonkeyPatch, outage: timedelta
) -> None:
    now = datetime.now(UTC)
    stopped = (
        Granularity.DAY.floor(now - outage) if outage > timedelta(days=1) else Granularity.HOUR.floor(now - outage)
    )
    start = Granularity.MONTH.floor(stopped)
    environment.setenv("ANALYTICS_START", f"{start:%Y-%m-%d}")
    get_settings.cache_clear()
    definitions = build_definitions(get_settings())
    with database.connect(autocommit=True) as connection:
        for hours in range(0, int((now - start).total_seconds() // 3600), 7):
            add_event(connection, f"{start + timedelta(hours=hours):%Y-%m-%dT%H:%M}")
    if start < stopped:
        close_span(definitions, get_settings(), instance, Window(start, stopped))
    daemon = Daemon(definitions, instance, "partition_gaps")
    requests = daemon.until_quiet()
    assert len(requests) <= 8 * len(CLOSING_JOBS), "gaps are asked for as ranges"
    ended = Granularity.HOUR.floor(now - timedelta(minutes=10))
    for asset, granularity in _assets():
        materialized = _materializations(instance, asset)
        expected = [w for w in Window(start, ended).split(granularity) if w.end <= now - timedelta(hours=2)]
        assert materialized.keys() >= {w.start for w in expected}
        assert set(materialized.values()) <= {1}, f"{asset} was closed twice"
    # An hour that has come of age meanwhile is asked for by itself, after the others.
    jobs = [str(r.job_name) for r in requests if f"{ended:%Y-%m-%d-%H:%M}" not in r.tags.values()]
    assert jobs == sorted(jobs, key=list(CLOSING_JOBS).index)
    assert daemon.skipped[-1].startswith("Every partition that has ended is closed")


def test_a_day_waits_for_its_hours_and_a_month_for_its_days(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    settings = get_settings()
    close_span(definitions, settings, instance, Window(at("2025-01-01T00:00"), at("2025-01-01T23:00")))
    for job, moment in (("daily_aggregates", "2025-01-02T00:20"), ("monthly_aggregates", "2025-02-01T00:40")):
        result = _schedule_tick(definitions, instance, job, moment)
        assert isinstance(result, SkipReason)
        assert "waits for" in (result.skip_message or "")
    close_span(definitions, settings, instance, Window(at("2025-01-01T23:00"), at("2025-01-02T00:00")))
    result = _schedule_tick(definitions, instance, "daily_aggregates", "2025-01-02T00:20")
    assert isinstance(result, RunRequest)
    assert result.partition_key == "2025-01-01"


@pytest.mark.parametrize(
    ("job", "moment", "key"),
    [
        ("hourly_aggregates", "2025-01-05T11:05", "2025-01-05-10:00"),
        ("hourly_aggregates", "2025-01-06T00:05", "2025-01-05-23:00"),
    ],
)
def test_a_schedule_closes_exactly_the_partition_that_has_just_ended(
    database: Database, instance: DagsterInstance, definitions: Definitions, job: str, moment: str, key: str
) -> None:
    result = _schedule_tick(definitions, instance, job, moment)
    assert isinstance(result, RunRequest)
    assert (result.partition_key, result.run_key) == (key, f"{job}:{key}")


def test_late_events_close_the_touched_partitions_again_whoever_wrote_them(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        for day in (3, 4, 5, 20):
            add_event(connection, f"2025-01-{day:02}T12:00", value="100")
        close_span(definitions, get_settings(), instance, JANUARY)
        daemon = Daemon(definitions, instance, "late_events")
        assert daemon.tick() == []
        assert daemon.skipped == ["No event has changed in a closed partition."]
        # The ERP writes by itself: a late insert, a correction, a deletion.
        add_event(connection, "2025-01-04T07:30", value="5")
        connection.execute("""UPDATE analytics_events SET value = 90 WHERE "timestamp" = '2025-01-05 12:00Z'""")
        connection.execute("""DELETE FROM analytics_events WHERE "timestamp" = '2025-01-20 12:00Z'""")
        requests = daemon.until_quiet()
        asked = {(str(r.job_name), _range(r)) for r in requests}
        assert asked == {
            # What lies between is closed again: cheaper than another run.
            ("hourly_aggregates", ("2025-01-04-07:00", "2025-01-05-12:00")),
            ("hourly_aggregates", ("2025-01-20-12:00", "2025-01-20-12:00")),
            ("daily_aggregates", ("2025-01-04", "2025-01-05")),
            ("daily_aggregates", ("2025-01-20", "2025-01-20")),
            # Growth and churn of the days after, and nothing else of them.
            ("daily_aggregates", ("2025-01-06", "2025-01-21")),
            ("monthly_aggregates", ("2025-01-01", "2025-01-01")),
            ("monthly_reports", ("2025-01-01", "2025-01-01")),
        }
        days_after = [r for r in requests if _range(r)[0] == "2025-01-06"]
        again = {key.to_user_string() for request in days_after for key in request.asset_selection or []}
        assert again == {"revenue_metrics", "user_metrics"}
        assert all(reconcile(connection, aggregate, JANUARY).agrees for aggregate in AGGREGATES)
        table = materialized_tables(connection)["analytics_revenue_monthly"].identifier.as_string(connection)
        assert str(connection.execute(f"SELECT total_value FROM {table}").fetchall()) == "[(Decimal('295'),)]"


def test_reports_are_behind_for_as_long_as_their_trend_shows_a_month_that_was_closed_again(
    database: Database, instance: DagsterInstance
) -> None:
    def close(asset: str, *months: Window) -> None:
        with database.connect(autocommit=True) as connection:
            for month in months:
                begin_attempt(connection, asset, Granularity.MONTH, month, "run")
                record_closed(connection, asset, month, "run")

    def behind(versions: DefinitionsVersions = _ONE_VERSION) -> dict[str, list[Window]]:
        with database.connect(autocommit=True) as connection:
            return reports_behind(PartitionState(instance, connection, get_settings(), datetime.now(UTC)), versions)

    months = list(Window.of_dates(date(2025, 1, 1), date(2026, 3, 31)).split(Granularity.MONTH))
    for job in ("monthly_aggregates", "monthly_reports"):
        for asset in assets_of(job):
            close(asset, *months)
    assert behind() == {"monthly_report": [], "company_reports": []}
    close("analytics_revenue_monthly", months[1])
    close("company_reports", months[2])

    assert behind() == {"monthly_report": months[1:14], "company_reports": [months[1], *months[3:14]]}
    # Of documents of older definitions those stay as they are whose months nothing but the definitions has changed.
    close("mrr_movements_monthly", months[3])
    older = frozenset((True, month) for month in months)
    restated = frozenset({("mrr_movements_monthly", months[3])})
    assert behind(DefinitionsVersions(restated, older))["monthly_report"] == months[1:14]
    assert behind(DefinitionsVersions(restated))["monthly_report"] == months[1:]
    assert behind(DefinitionsVersions(older_documents=older))["monthly_report"] == months[1:]


def test_a_failed_run_for_late_events_is_asked_for_again_and_a_running_one_is_not(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00")
        close_span(definitions, get_settings(), instance, JANUARY)
        add_event(connection, "2025-01-05T12:30")
        daemon = Daemon(definitions, instance, "late_events")
        (request,) = daemon.tick()
        assert daemon.tick() == [], "the same change is not asked for twice"
        with _database_down():
            assert not daemon.run(request)
        requests = daemon.until_quiet()
        assert str(requests[0].job_name) == "hourly_aggregates"
        assert all(reconcile(connection, aggregate, JANUARY).agrees for aggregate in AGGREGATES)


def test_a_range_that_keeps_failing_is_left_to_a_person_after_three_attempts(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00")
        close_span(definitions, get_settings(), instance, DAY)
        add_event(connection, "2025-01-05T12:30")
    daemon = Daemon(definitions, instance, "late_events")
    for _ in range(3):
        (request,) = daemon.tick()
        with _database_down():
            assert not daemon.run(request)
    assert daemon.tick() == []
    assert "failed 3 times" in daemon.skipped[-1]


def test_late_events_behind_the_retention_horizon_are_reported_and_not_chased(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00")
        add_event(connection, "2025-01-25T12:00")
        close_span(definitions, get_settings(), instance, DAY)
        before = connection.execute("SELECT * FROM analytics_revenue_hourly ORDER BY 1").fetchall()
        connection.execute("SELECT drop_chunks('analytics_events', '2025-01-16'::timestamptz)")
        daemon = Daemon(definitions, instance, "late_events")
        daemon.tick()
        add_event(connection, "2025-01-05T12:00")
        assert daemon.tick() == []
        assert "behind the retention horizon" in daemon.skipped[-1]
        assert connection.execute("SELECT * FROM analytics_revenue_hourly ORDER BY 1").fetchall() == before


def test_an_event_of_the_future_is_reported(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:%M}")
    daemon = Daemon(definitions, instance, "late_events")
    assert daemon.tick() == []
    assert "1 events are dated in the future" in daemon.skipped[-1]


@contextmanager
def _database_down() -> Iterator[None]:
    """Point the settings at a server that does not answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANALYTICS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        get_settings.cache_clear()
        yield
    get_settings.cache_clear()


def _schedule_tick(
    definitions: Definitions, instance: DagsterInstance, schedule: str, moment: str
) -> RunRequest | SkipReason:
    with build_schedule_context(instance, at(moment), definitions.resources) as context:
        (result,) = definitions.resolve_schedule_def(schedule)(context)  # type: ignore[misc]
    assert isinstance(result, RunRequest | SkipReason)
    return result


def _range(request: RunRequest) -> tuple[str, str]:
    return request.tags["dagster/asset_partition_range_start"], request.tags["dagster/asset_partition_range_end"]


def _assets() -> Iterator[tuple[str, Granularity]]:
    return ((asset, granularity) for job, granularity in CLOSING_JOBS.items() for asset in assets_of(job))


def _materializations(instance: DagsterInstance, asset: str) -> Counter[datetime]:
    """Return how often each partition, by its start, was materialised."""
    counts: Counter[datetime] = Counter()
    cursor: str | None = None
    has_more = True
    while has_more:
        page = instance.fetch_materializations(AssetKey(asset), limit=1000, cursor=cursor)
        counts.update(_start(str(record.partition_key)) for record in page.records)
        cursor, has_more = page.cursor, page.has_more
    return counts


def _start(partition_key: str) -> datetime:
    day, hour = partition_key[:10], partition_key[11:] or "00:00"
    return at(f"{day}T{hour}")
