"""A date is closed for the companies for which it has ended, and its partition once it has ended for all."""

from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from dagster import DagsterInstance, Definitions, RunRequest, SensorResult, SkipReason, build_sensor_context

from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.errors import RefusedError
from analytics_pipeline.metrics.local_dates import require_ended_everywhere
from analytics_pipeline.metrics.partitions import begin_attempt, record_closed
from analytics_pipeline.metrics.tables import METRIC_TABLES, close_metric
from analytics_pipeline.orchestration import close as closing
from analytics_pipeline.orchestration.close import close_span, ranges_to_close
from analytics_pipeline.orchestration.close_preview import preview_close
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.closing.local_closing import LOCAL_JOB
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window, midnight
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.metrics.closing import close, close_inputs

pytestmark = pytest.mark.slow

# 25 hours apart: there is always a date that has ended for the one and goes on for the other.
FIRST, LAST = ("kiri", "Pacific/Kiritimati"), ("pago", "Pacific/Pago_Pago")

# Their dates begin at 18:15 and end at 03:30 (UTC, in winter).
WITHIN_AN_HOUR = [("ktm", "Asia/Kathmandu"), ("yyt", "America/St_Johns")]


def test_the_first_is_closed_while_the_last_goes_on(
    database: Database, instance: DagsterInstance, environment: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    start = Granularity.MONTH.floor(now - timedelta(days=3))
    environment.setenv("ANALYTICS_START", f"{start:%Y-%m-%d}")
    get_settings.cache_clear()
    settings = get_settings()
    definitions = build_definitions(settings)
    sensor = definitions.resolve_sensor_def(LOCAL_JOB)

    def tick() -> object:
        return sensor(build_sensor_context(instance=instance, resources=definitions.resources))

    with database.connect(autocommit=True) as connection:
        add_event(connection, f"{now - timedelta(days=2):%Y-%m-%dT%H:%M}", company_id="kiri")
        _close_hours(connection, Window(start, Granularity.HOUR.floor(now)))
        # As on any day but the very first: by the platform's calendar something is closed, at whatever hour this runs.
        before = Granularity.DAY.floor(now - timedelta(days=3))
        for table in METRIC_TABLES:
            close_metric(connection, table, Granularity.DAY, Window(before, before + timedelta(days=1)), "EUR")
        assert isinstance(tick(), SkipReason), "everybody lives in UTC"
        _add_companies(connection, [FIRST, LAST])
        (ended,) = fetch_row(connection, "SELECT analytics_local_date(now(), %s) - 1", [FIRST[1]])
        assert isinstance(tick(), RunRequest)
        assert definitions.resolve_job_def(LOCAL_JOB).execute_in_process(instance=instance).success
        closed = "SELECT analytics_closed_for(%s, 'day', %s)"
        assert fetch_row(connection, closed, ["kiri", ended]) == (True,)
        assert fetch_row(connection, closed, ["pago", ended]) == (False,)
        state = PartitionState(instance, connection, settings, now)
        assert state.local_dates_at(now) is state.local_dates, "asked for each asset, and read once in a tick"
        assert isinstance(tick(), SkipReason), "it is closed"
        # The partition of that date is nobody's yet.
        partition = Window(midnight(ended), Granularity.DAY.next(midnight(ended)))
        with pytest.raises(RefusedError, match="goes on in the time zone of some company"):
            require_ended_everywhere(connection, "UTC", "revenue_metrics", partition, settings.start)
        days = [
            window
            for job, window in ranges_to_close(connection, settings, Window(start, Granularity.HOUR.floor(now)))
            if job == "daily_aggregates"
        ]
        assert all(window.end <= partition.start for window in days)


def test_a_late_event_has_the_partitions_closed_again_in_whose_dates_of_its_company_it_lies(
    database: Database, instance: DagsterInstance
) -> None:
    january = Window.of_month(date(2025, 1, 1))
    definitions = build_definitions(get_settings())
    sensor = definitions.resolve_sensor_def("late_events")

    def asked() -> set[tuple[str, str, str]]:
        context = build_sensor_context(instance=instance, resources=definitions.resources)
        result = sensor(context)
        assert isinstance(result, SensorResult)
        first, last = (f"dagster/asset_partition_range_{end}" for end in ("start", "end"))
        return {
            (key.to_user_string(), request.tags[first], request.tags[last])
            for request in result.run_requests or ()
            for key in request.asset_selection or ()
        }

    with database.connect(autocommit=True) as connection:
        _add_companies(connection, [("akl", "Pacific/Auckland"), ("nyc", "America/New_York")])
        for company in ("akl", "nyc"):
            add_event(connection, "2025-01-10T10:00", company_id=company)
        close(connection, january)
        for job, granularity in CLOSING_JOBS.items():
            for asset in assets_of(job):
                begin_attempt(connection, asset, granularity, january, "run")
                record_closed(connection, asset, january, "run")
        assert asked() == set()
        # The tenth for New York and for the platform, and the eleventh for Auckland.
        add_event(connection, "2025-01-10T12:00", company_id="nyc")
        close_inputs(connection, january)
        assert asked() == {(table.metric, "2025-01-10", "2025-01-10") for table in METRIC_TABLES}
        add_event(connection, "2025-01-10T12:00", company_id="akl")
        close_inputs(connection, january)
        assert asked() == {(table.metric, "2025-01-10", "2025-01-11") for table in METRIC_TABLES}


def test_a_span_is_closed_with_the_whole_hours_within_which_its_dates_begin_and_end(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    settings = get_settings()
    span = Window(at("2025-01-05T00:00"), at("2025-01-07T00:00"))
    with database.connect(autocommit=True) as connection:
        _add_companies(connection, WITHIN_AN_HOUR)
        for company, first, last in (
            ("ktm", "2025-01-04T18:15", "2025-01-06T18:14"),
            ("yyt", "2025-01-05T03:30", "2025-01-07T03:29"),
        ):
            add_event(connection, first, company_id=company, value="1")
            add_event(connection, last, company_id=company, value="2")
        preview = preview_close(settings, instance, connection, span)
        closed = close_span(definitions, settings, instance, span)
        assert [(run.job, run.window) for run in closed] == [
            ("hourly_aggregates", Window(at("2025-01-04T18:00"), at("2025-01-07T04:00"))),
            ("daily_aggregates", span),
        ]
        assert [(planned.job, planned.window) for planned in preview.ranges] == [(r.job, r.window) for r in closed]
        revenue = connection.execute(
            "SELECT company_id, period_date, total_revenue FROM analytics_revenue_metrics "
            "WHERE granularity = 'day' AND company_id IS NOT NULL AND total_revenue <> 0 ORDER BY 1, 2"
        ).fetchall()
        assert revenue == [
            (company, date(2025, 1, day), value) for company, _ in WITHIN_AN_HOUR for day, value in ((5, 1), (6, 2))
        ]


def test_a_date_is_closed_once_every_hour_has_ended_that_it_may_reach_into(
    database: Database, dagster_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock of this machine that stands. In summer New York's dates end at 04:00, and in winter an hour later."""
    with database.connect(autocommit=True) as connection:
        for zone, month, time, last in (
            ("America/St_Johns", "2025-01", "03:45", 5),
            ("America/St_Johns", "2025-01", "04:00", 6),
            ("America/New_York", "2025-07", "04:30", 5),
            ("America/New_York", "2025-07", "05:00", 6),
        ):
            connection.execute("DELETE FROM analytics_companies")
            _add_companies(connection, [("company", zone)])
            now, start, end = (at(f"{month}-{day}") for day in (f"07T{time}", "05T00:00", "08T00:00"))
            monkeypatch.setattr(closing, "machine_now", partial(at, f"{month}-07T{time}"))
            assert ranges_to_close(connection, get_settings(), Window(start, end)) == [
                ("hourly_aggregates", Window(start, Granularity.HOUR.floor(now))),
                ("daily_aggregates", Window(start, midnight(date(now.year, now.month, last + 1)))),
            ]


def _add_companies(connection: Connection, zones: list[tuple[str, str]]) -> None:
    connection.cursor().executemany("INSERT INTO analytics_companies (company_id, time_zone) VALUES (%s, %s)", zones)


def _close_hours(connection: Connection, window: Window) -> None:
    for asset in assets_of("hourly_aggregates"):
        begin_attempt(connection, asset, Granularity.HOUR, window, "run")
        record_closed(connection, asset, window, "run")
