"""The metric assets in Dagster: closed with their days and months, and closed again when what they stand on changes."""

import os
from collections import defaultdict
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from dagster import AssetCheckKey, AssetKey, AssetRecordsFilter, DagsterInstance, Definitions, RunRequest

from analytics_pipeline.health.check_result import Severity
from analytics_pipeline.health.metrics import equals_definitions, figures_current
from analytics_pipeline.metrics.answers import revenue_answer, users_answer
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.tables import GRANULARITIES, METRIC_TABLES, MetricTable, stale_periods
from analytics_pipeline.orchestration.close import close_span
from analytics_pipeline.orchestration.health import CHECKS_JOB
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, add_subscription_change, at
from analytics_pipeline_tests.orchestration.closing.test_automation import Daemon

pytestmark = pytest.mark.slow

JANUARY = Window.of_month(date(2025, 1, 1))
FEBRUARY = Window.of_month(date(2025, 2, 1))
BOTH = Window(JANUARY.start, FEBRUARY.end)


def test_closing_writes_the_figures_that_the_answers_give(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        _add_subscription(connection, "2025-01-10T09:00", "started", price="100")
        add_event(connection, "2025-01-12T09:00", value="100", user_id="u1")
        add_event(connection, "2025-01-13T09:00", value="40", company_id="beta", user_id="u9")
        close_span(definitions, get_settings(), instance, JANUARY)
        for company in ("acme", "beta"):
            answer = revenue_answer(connection, company, JANUARY, "EUR")
            stored = fetch_row(
                connection,
                "SELECT total_revenue, mrr, arr, paying_customers, definitions_version FROM analytics_revenue_metrics "
                "WHERE company_id = %s AND granularity = 'month'",
                [company],
            )
            assert stored == (answer["totalRevenue"], answer["mrr"], answer["arr"], answer["payingCustomers"], 3)
            users = users_answer(connection, company, JANUARY)
            query = "SELECT total_users, active_users FROM analytics_user_metrics WHERE company_id = %s "
            counted = fetch_row(connection, query + "AND granularity = 'month'", [company])
            assert counted == (users["totalUsers"], users["activeUsers"]) == (1, 1)
        days = connection.execute(
            "SELECT count(*), sum(new) FROM analytics_mrr_movements "
            "WHERE company_id IS NOT NULL AND granularity = 'day'"
        )
        assert days.fetchone() == (22, Decimal(100))
        assert stale_periods(connection) == []


def test_a_late_subscription_closes_every_later_figure_again_and_none_before(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        _add_subscription(connection, "2025-01-03T09:00", "started", price="10")
        close_span(definitions, get_settings(), instance, BOTH)
        _add_subscription(connection, "2025-01-20T09:00", "changed", price="25")
        requests = Daemon(definitions, instance, "late_events").until_quiet()
        asked: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for request in requests:
            for key in request.asset_selection or []:
                asked[key.to_user_string()].append(
                    (
                        request.tags["dagster/asset_partition_range_start"],
                        request.tags["dagster/asset_partition_range_end"],
                    )
                )
        assert asked["subscriptions"] == [("2025-01-20", "2025-01-20")]
        assert asked["mrr_movements"][-1] == asked["revenue_metrics"][-1] == ("2025-01-21", "2025-02-28")
        # January in one run with the aggregates of its own events, February after it. TimescaleDB 2.23 calls the bucket
        # after a changed month stale as well: there February is closed once more before.
        assert asked["mrr_movements_monthly"][-2:] == [("2025-01-01", "2025-01-01"), ("2025-02-01", "2025-02-01")]
        assert {bound for window in asked["monthly_report"] for bound in window} == {"2025-01-01", "2025-02-01"}
        mrr = connection.execute(
            "SELECT end_mrr, new, expansion FROM analytics_mrr_movements "
            "WHERE company_id IS NOT NULL AND granularity = 'month' "
            "ORDER BY period_start"
        ).fetchall()
        assert [tuple(map(int, row)) for row in mrr] == [(25, 25, 0), (25, 0, 0)]
        assert stale_periods(connection) == []
        assert revenue_answer(connection, "acme", FEBRUARY, "EUR")["mrrMovements"]["start"] == 25


def test_removed_events_leave_the_users_figures_by_themselves(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    """21 users, of whom one had no event but those removed, and seven were first seen later than the removed ones."""
    with database.connect(autocommit=True) as connection:
        for user in range(21):
            for day in (3, 20) if user else (3,):
                add_event(connection, f"2025-01-{day:02}T09:00", user_id=f"u{user}")
        close_span(definitions, get_settings(), instance, BOTH)
        assert users_answer(connection, None, JANUARY)["totalUsers"] == 21
        removed = [f"u{user}" for user in range(8)]
        connection.execute(
            "DELETE FROM analytics_events WHERE user_id = ANY (%s) AND \"timestamp\" < '2025-01-04Z'", [removed]
        )
        requests = Daemon(definitions, instance, "late_events").until_quiet()
        asked = {
            request.tags["dagster/asset_partition_range_start"]
            for request in requests
            for key in request.asset_selection or []
            if key.to_user_string() == "analytics_users"
        }
        assert asked == {"2025-01-03"}
        answer = users_answer(connection, None, JANUARY)
        assert (answer["totalUsers"], answer["newUsers"], answer["activeUsers"]) == (20, 20, 20)
        days = connection.execute(
            "SELECT extract(day FROM period_start AT TIME ZONE 'UTC')::integer, total_users, new_users "
            "FROM analytics_user_metrics "
            "WHERE company_id IS NOT NULL AND granularity = 'day' AND period_start < '2025-01-22Z' ORDER BY 1"
        ).fetchall()
        assert days == [*((day, 13, 13 if day == 3 else 0) for day in range(3, 20)), (20, 20, 7), (21, 20, 0)]
        stored = (
            "SELECT total_users FROM analytics_user_metrics "
            "WHERE company_id IS NOT NULL AND granularity = 'month' ORDER BY period_start"
        )
        assert connection.execute(stored).fetchall() == [(20,), (20,)]
        assert stale_periods(connection) == []
        assert _check(definitions, instance, "analytics_users", "users_match_events").passed


def test_a_rate_that_comes_late_fixes_the_figures_and_the_check(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-13T09:00", value="16000", currency="JPY")
        close_span(definitions, get_settings(), instance, JANUARY)
        check = _check(definitions, instance, "revenue_metrics_monthly", "amounts_converted")
        assert not check.passed
        assert "totalRevenue of 16000 JPY" in str(check.description)
        with connection.transaction():
            connection.execute("SELECT analytics_lock_changes(false)")
            connection.execute(
                "INSERT INTO analytics_fx_rates (rate_date, base, quote, rate, source) "
                "VALUES ('2025-01-10', 'EUR', 'JPY', 160, 'test')"
            )
            connection.execute(
                "INSERT INTO analytics_metric_changes (changed_from, changed_until, cause) "
                "VALUES ('2025-01-10Z', '2025-01-18Z', 'rates EUR/JPY')"
            )
        Daemon(definitions, instance, "late_events").until_quiet()
        query = (
            "SELECT total_revenue, unconverted FROM analytics_revenue_metrics "
            "WHERE company_id IS NOT NULL AND granularity = 'month'"
        )
        assert fetch_row(connection, query) == (Decimal(100), [])
        assert _check(definitions, instance, "revenue_metrics_monthly", "amounts_converted").passed


def test_figures_changed_by_hand_stop_the_run_that_proves_them(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-13T09:00", value="10")
        close_span(definitions, get_settings(), instance, JANUARY)
        assert _check(definitions, instance, "revenue_metrics_monthly", "equals_definitions").passed
        connection.execute("UPDATE analytics_revenue_metrics SET total_revenue = 11 WHERE granularity = 'month'")
        check = _check(definitions, instance, "revenue_metrics_monthly", "equals_definitions")
        assert not check.passed
        assert "acme, 2025-01-01: total_revenue is 11.00 stored and 10.00 due" in str(check.description)


def test_a_new_version_of_the_definitions_closes_again_what_still_has_its_events_and_nothing_else(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        _add_subscription(connection, "2025-01-10T09:00", "started", price="10")
        for day in ("2025-01-12", "2025-02-12"):
            add_event(connection, f"{day}T09:00", value="10")
        close_span(definitions, get_settings(), instance, BOTH)
        documents = _documents(connection)
        assert {version for *_, version in documents} == {DEFINITIONS_VERSION}
        # All of it was closed under the version before, and the events of January have expired.
        for relation in ("analytics_metric_periods", *(t.table for t in METRIC_TABLES), "analytics_report_documents"):
            connection.execute(f"UPDATE {relation} SET definitions_version = {DEFINITIONS_VERSION - 1}")
        connection.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-02-01Z')")
        kept = {t.table: _rows_of(connection, t, JANUARY) for t in METRIC_TABLES}
        settings = get_settings()
        for table in METRIC_TABLES:
            for granularity in GRANULARITIES:
                stale = figures_current(connection, settings, table.asset(granularity), table, granularity)
                assert (stale.passed, stale.severity) == (False, Severity.WARNING)
                assert f"because of: definitions version {DEFINITIONS_VERSION - 1}" in stale.summary

        daemon = Daemon(definitions, instance, "late_events")
        asked = {
            (asset.to_user_string(), *_range(request))
            for request in daemon.until_quiet()
            for asset in request.asset_selection or []
        }
        days, month = ("2025-02-01", "2025-02-28"), ("2025-02-01", "2025-02-01")
        assert asked == {
            *((asset, *days) for asset in ("analytics_users", "subscriptions", *(t.metric for t in METRIC_TABLES))),
            *((table.asset(Granularity.MONTH), *month) for table in METRIC_TABLES),
        }
        assert {t.table: _rows_of(connection, t, JANUARY) for t in METRIC_TABLES} == kept
        for table in METRIC_TABLES:
            for granularity, count in (Granularity.DAY, 31), (Granularity.MONTH, 1):
                current = figures_current(connection, settings, table.asset(granularity), table, granularity)
                assert current.passed, current.summary
                missed = table.needs_raw_events and granularity is Granularity.DAY
                assert f"but {count + missed} {granularity}s from 2025-01-01" in current.summary
                assert f"keep their figures and their version ({DEFINITIONS_VERSION - 1})" in current.summary
                equal = equals_definitions(connection, settings, table.asset(granularity), table, granularity)
                assert equal.passed, equal.summary
        # No document was made anew for it.
        assert _documents(connection) == [(*of, DEFINITIONS_VERSION - 1) for *of, _ in documents]
        # Late data make one, of the month they are of, and by today's definitions.
        add_event(connection, "2025-02-20T09:00", value="5")
        late = [request for request in daemon.until_quiet() if request.job_name == "monthly_reports"]
        assert [_range(request) for request in late] == [month]
        assert [(period, version) for period, *_, version in _documents(connection)] == [
            *[("2025-01", DEFINITIONS_VERSION - 1)] * 2,
            *[("2025-02", DEFINITIONS_VERSION)] * 2,
        ]
    assert definitions.resolve_assets_def("revenue_metrics").code_versions_by_key == {
        AssetKey("revenue_metrics"): str(DEFINITIONS_VERSION)
    }


def test_each_partition_of_a_range_shows_its_own_figures_over_all_companies(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        _add_subscription(connection, "2025-01-02T09:00", "started", price="10.5")
        add_event(connection, "2025-01-02T10:00", value="100", user_id="u1")
        add_event(connection, "2025-01-03T10:00", value="40.25", company_id="beta", user_id="u9")
        close_span(definitions, get_settings(), instance, Window(at("2025-01-01T00:00"), at("2025-01-04T00:00")))
    shown = {
        asset: {day: _own_figures(instance, asset, day) for day in ("2025-01-01", "2025-01-02", "2025-01-03")}
        for asset in (*(table.asset(Granularity.DAY) for table in METRIC_TABLES), "analytics_users", "subscriptions")
    }
    rows, mrr = "dagster/partition_row_count", {"MRR (EUR)": 10.5}
    movements = dict.fromkeys(("reactivated MRR (EUR)", "expanded MRR (EUR)", "contracted MRR (EUR)"), 0)
    users = dict.fromkeys(("active users", "new users"), 1)
    assert shown == {
        "revenue_metrics": {
            "2025-01-01": {rows: 0},
            "2025-01-02": {rows: 1, "revenue (EUR)": 100, **mrr, "ARR (EUR)": 126, "users": 1},
            # A balance is that of the day, and nobody's of another one.
            "2025-01-03": {rows: 2, "revenue (EUR)": 40.25, **mrr, "ARR (EUR)": 126, "users": 2},
        },
        "mrr_movements": {
            "2025-01-01": {rows: 0},
            "2025-01-02": {rows: 1, **mrr, "new MRR (EUR)": 10.5, **movements, "churned MRR (EUR)": 0},
            "2025-01-03": {rows: 1, **mrr, "new MRR (EUR)": 0, **movements, "churned MRR (EUR)": 0},
        },
        "user_metrics": {
            "2025-01-01": {rows: 0},
            "2025-01-02": {rows: 1, "users": 1, **users, "churned users": 0},
            "2025-01-03": {rows: 2, "users": 2, **users, "churned users": 1},
        },
        "analytics_users": {"2025-01-01": {rows: 0}, "2025-01-02": {rows: 1}, "2025-01-03": {rows: 1}},
        "subscriptions": {"2025-01-01": {rows: 0}, "2025-01-02": {rows: 1}, "2025-01-03": {rows: 0}},
    }
    with psycopg.connect(os.environ["DAGSTER_POSTGRES_URL"]) as storage:
        largest = storage.execute(
            "SELECT max(pg_column_size(e.*)) FROM event_logs AS e WHERE e.dagster_event_type = 'ASSET_MATERIALIZATION'"
        ).fetchone()
    assert largest is not None
    assert largest[0] < 2_500, "3 kB of Dagster's storage for each closed partition, with its tags and its plan"


def _own_figures(instance: DagsterInstance, asset: str, day: str) -> dict[str, object]:
    """Return the numbers that the UI plots of the newest materialisation of a partition."""
    (record,) = instance.fetch_materializations(
        AssetRecordsFilter(asset_key=AssetKey(asset), asset_partitions=[day]), limit=1
    ).records
    assert record.asset_materialization is not None
    values = {name: value.value for name, value in record.asset_materialization.metadata.items()}
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def _documents(connection: Connection) -> list[tuple[Any, ...]]:
    """Return the documents that count: period, company, checksum, version of the definitions."""
    return connection.execute(
        "SELECT period, company_id, sha256, definitions_version FROM analytics_report_documents WHERE is_current "
        "ORDER BY period, company_id"
    ).fetchall()


def _rows_of(connection: Connection, table: MetricTable, window: Window) -> list[tuple[Any, ...]]:
    query = (
        f"SELECT * FROM {table.table} "
        f"WHERE company_id IS NOT NULL AND period_start >= %s AND period_end <= %s ORDER BY 1, 2, 3"
    )
    return connection.execute(query, [window.start, window.end]).fetchall()


def _range(request: RunRequest) -> tuple[str, str]:
    return request.tags["dagster/asset_partition_range_start"], request.tags["dagster/asset_partition_range_end"]


class _Checked:
    def __init__(self, passed: bool, description: str | None) -> None:  # noqa: FBT001
        self.passed = passed
        self.description = description


def _check(definitions: Definitions, instance: DagsterInstance, asset: str, check: str) -> _Checked:
    """Run one check of the job that runs all of them."""
    job = definitions.resolve_job_def(CHECKS_JOB)
    alone = job.get_subset(asset_check_selection={AssetCheckKey(AssetKey(asset), check)})
    result = alone.execute_in_process(instance=instance, raise_on_error=False)
    (found,) = result.get_asset_check_evaluations()
    return _Checked(found.passed, found.description)


def _add_subscription(connection: Connection, timestamp: str, what: str, *, price: str, status: str = "active") -> None:
    add_subscription_change(connection, timestamp, what, status, price=price)
