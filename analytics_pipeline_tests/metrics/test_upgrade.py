"""A database that took subscriptions in by the rules of version 1 follows those of version 2 at once."""

import pytest

from analytics_pipeline.database import migrate
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import days
from analytics_pipeline_tests.metrics.single_figures import mrr_movements
from analytics_pipeline_tests.metrics.subscription_changes import COMPANY, SPAN, a_change, load, table

pytestmark = pytest.mark.slow

FEBRUARY = days("2025-02-01", "2025-02-28")


def _expansion_and_churn(connection: Connection) -> tuple[int, int]:
    moved = mrr_movements(connection, COMPANY, FEBRUARY, "EUR")
    return int(moved.expansion), int(moved.churn)


def _by_old_rules(connection: Connection) -> None:
    """Leave the database as a version before had left it: an end counted whatever else its instant held."""
    load(
        connection,
        a_change("01-05", price="50"),
        a_change("02-05T00:00", "ended", "ended", price="50"),
        a_change("02-05T00:00", "started", price="80"),
    )
    update_subscriptions(connection, SPAN)
    connection.execute(
        "UPDATE analytics_subscriptions SET status = 'ended', monthly_amount = 0, otherwise = NULL "
        "WHERE valid_from = '2025-02-05+00'"
    )
    connection.execute(
        "CREATE OR REPLACE FUNCTION analytics_data_through(p_company text) RETURNS timestamptz LANGUAGE sql "
        "AS 'SELECT NULL::timestamptz'"
    )
    connection.execute("DELETE FROM analytics_schema_migrations WHERE name = '0021_subscription_order.sql'")
    assert _expansion_and_churn(connection) == (0, 50)


def test_events_that_are_there_are_read_anew_at_once_and_taken_in_when_closed_again(connection: Connection) -> None:
    _by_old_rules(connection)
    assert migrate().applied == ("0021_subscription_order.sql",)
    assert _expansion_and_churn(connection) == (30, 0)
    functions = """
        SELECT count(*) FROM pg_proc
        WHERE proname = 'analytics_data_through' AND pronamespace = current_schema()::regnamespace
    """
    assert fetch_row(connection, functions) == (1,)
    assert update_subscriptions(connection, days("2025-02-05")) == 1
    assert _expansion_and_churn(connection) == (30, 0)
    causes = connection.execute("SELECT DISTINCT cause FROM analytics_metric_changes").fetchall()
    assert ("subscriptions",) in causes


def test_closed_figures_with_what_had_joined_the_euro_are_computed_again(connection: Connection) -> None:
    add_event(connection, "2025-01-10T12:00", currency="HRK")
    add_event(connection, "2025-02-03T12:00", "invoice.created", category="billing", currency="HRK")
    # The rates of its own days counted until it joined.
    add_event(connection, "2025-03-03T12:00", currency="BGN")
    connection.execute("DELETE FROM analytics_metric_changes")
    connection.execute("DELETE FROM analytics_schema_migrations WHERE name ~ 'irrevocable'")
    assert [name.partition("_")[2] for name in migrate().applied] == ["irrevocable_euro_rates.sql"]
    noted = "SELECT changed_from::text, changed_until::text, metrics, cause FROM analytics_metric_changes"
    assert connection.execute(noted).fetchall() == [
        (
            "2025-01-10 00:00:00+00",
            "2025-02-04 00:00:00+00",
            ["revenue_metrics", "mrr_movements"],
            "the irrevocable rate of HRK",
        )
    ]


def test_what_is_kept_of_expired_events_stays(connection: Connection) -> None:
    _by_old_rules(connection)
    connection.execute("SELECT drop_chunks('analytics_events', '2025-02-03'::timestamptz)")
    add_event(connection, "2025-03-05T10:00")
    kept = [row for row in table(connection) if row[2] < FEBRUARY.start]
    assert kept
    migrate()
    windows = "SELECT NOT windows @> '2025-02-05+00'::timestamptz, windows @> '2025-01-05+00'::timestamptz "
    assert fetch_row(
        connection, windows + "FROM analytics_closed_windows WHERE relation = 'analytics_subscriptions'"
    ) == (
        True,
        True,
    )
    assert _expansion_and_churn(connection) == (30, 0)
    assert int(mrr_movements(connection, COMPANY, FEBRUARY, "EUR").start) == 50
    assert [row for row in table(connection) if row[2] < FEBRUARY.start] == kept
