"""The metric assets in Dagster: closed with their days and months, and closed again when what they stand on changes."""

import json
from datetime import date
from decimal import Decimal
from uuid import uuid4

from dagster import AssetKey, DagsterInstance, Definitions

from analytics_pipeline.metrics.answers import revenue_answer, users_answer
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.tables import METRIC_TABLES, stale_periods
from analytics_pipeline.orchestration.close import close_span
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Cadence, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.orchestration.test_automation import Daemon

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
            assert stored == (answer["totalRevenue"], answer["mrr"], answer["arr"], answer["payingCustomers"], 1)
            users = users_answer(connection, company, JANUARY)
            query = "SELECT total_users, active_users FROM analytics_user_metrics WHERE company_id = %s "
            counted = fetch_row(connection, query + "AND granularity = 'month'", [company])
            assert counted == (users["totalUsers"], users["activeUsers"]) == (1, 1)
        days = connection.execute("SELECT count(*), sum(new) FROM analytics_mrr_movements WHERE granularity = 'day'")
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
        asked = {
            key.to_user_string(): (
                request.tags["dagster/asset_partition_range_start"],
                request.tags["dagster/asset_partition_range_end"],
            )
            for request in requests
            for key in request.asset_selection or []
        }
        assert asked["subscriptions"] == ("2025-01-20", "2025-01-20")
        assert asked["mrr_movements"] == asked["revenue_metrics"] == ("2025-01-21", "2025-02-28")
        assert asked["mrr_movements_monthly"] == asked["monthly_report"] == ("2025-01-01", "2025-02-01")
        mrr = connection.execute(
            "SELECT end_mrr, new, expansion FROM analytics_mrr_movements WHERE granularity = 'month' "
            "ORDER BY period_start"
        ).fetchall()
        assert [tuple(map(int, row)) for row in mrr] == [(25, 25, 0), (25, 0, 0)]
        assert stale_periods(connection) == []
        assert revenue_answer(connection, "acme", FEBRUARY, "EUR")["mrrMovements"]["start"] == 25


def test_a_rate_that_comes_late_mends_the_figures_and_the_check(
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
        query = "SELECT total_revenue, unconverted FROM analytics_revenue_metrics WHERE granularity = 'month'"
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
        assert "acme, 2025-01-01: total_revenue is 11 stored and 10" in str(check.description)


def test_another_version_of_the_definitions_is_told_until_it_is_backfilled(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-13T09:00", value="10")
        close_span(definitions, get_settings(), instance, JANUARY)
        connection.execute("UPDATE analytics_metric_periods SET definitions_version = 0")
    for table in METRIC_TABLES:
        check = _check(definitions, instance, table.asset(Cadence.DAY), "figures_current")
        assert not check.passed
        assert "31 closed days from 2025-01-01 to 2025-01-31 follow other definitions" in str(check.description)
    close_span(definitions, get_settings(), instance, JANUARY)
    assert _check(definitions, instance, "revenue_metrics", "figures_current").passed
    assert definitions.resolve_assets_def("revenue_metrics").code_versions_by_key == {
        AssetKey("revenue_metrics"): str(DEFINITIONS_VERSION)
    }


class _Checked:
    def __init__(self, passed: bool, description: str | None) -> None:  # noqa: FBT001
        self.passed = passed
        self.description = description


def _check(definitions: Definitions, instance: DagsterInstance, asset: str, check: str) -> _Checked:
    """Run the checks of every asset once, as their schedule does, and return one of them."""
    result = definitions.resolve_job_def("checks").execute_in_process(instance=instance, raise_on_error=False)
    (found,) = (
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if (evaluation.asset_key.to_user_string(), evaluation.check_name) == (asset, check)
    )
    return _Checked(found.passed, found.description)


def _add_subscription(connection: Connection, timestamp: str, what: str, *, price: str, status: str = "active") -> None:
    metadata = {
        "subscription_id": "s1",
        "interval": "month",
        "interval_count": 1,
        "quantity": 1,
        "status": status,
    }
    connection.execute(
        'INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, value, '
        "currency, metadata) VALUES (%s, %s, 'acme', 'u1', %s, 'subscription', %s, 'EUR', %s)",
        [uuid4(), at(timestamp), f"subscription.{what}", Decimal(price), json.dumps(metadata)],
    )
