"""What no aggregate has ever stored is read from the events, also where it lies below what is stored."""

from datetime import date
from decimal import Decimal

import pytest

from analytics_pipeline.companies.local_windows import local_window
from analytics_pipeline.metrics.crypto import asset_volumes
from analytics_pipeline.metrics.revenue import revenue_metrics
from analytics_pipeline.metrics.tables import METRIC_TABLES, close_metric
from analytics_pipeline.metrics.top_events import top_events
from analytics_pipeline.metrics.users import user_metrics
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.metrics.closing import close_inputs, days

pytestmark = pytest.mark.slow

JANUARY, FEBRUARY = days("2025-01-01", "2025-01-31"), days("2025-02-01", "2025-02-28")
# Of each company's own month: revenue, invoiced, active users, new users.
Figures = tuple[Decimal | None, Decimal | None, int | None, int | None]
EXPECTED: dict[tuple[str, date], Figures] = {
    ("akl", FEBRUARY.start.date()): (Decimal(3), Decimal(32), 2, 2),
    ("ktm", FEBRUARY.start.date()): (Decimal(4), Decimal(0), 1, 1),
    ("utc", JANUARY.start.date()): (Decimal(8), Decimal(64), 1, 1),
    ("utc", FEBRUARY.start.date()): (Decimal(0), Decimal(0), 0, 0),
}
ZONES = {"akl": "Pacific/Auckland", "ktm": "Asia/Kathmandu", "utc": "UTC"}


@pytest.fixture(scope="module")
def closed(shared: Connection) -> Connection:
    """February to April are closed; January never was, although local Februaries reach into its last day."""
    for company, zone in ZONES.items():
        shared.execute("INSERT INTO analytics_companies (company_id, time_zone) VALUES (%s, %s)", [company, zone])
    # 1 February in Auckland, in hours that nobody has closed.
    add_event(shared, "2025-01-31T11:30", company_id="akl", value="1", user_id="edge")
    add_event(
        shared, "2025-01-31T11:30", "invoice.issued", category="billing", user_id=None, company_id="akl", value="32"
    )
    add_event(shared, "2025-02-10T12:00", company_id="akl", value="2", user_id="u2")
    # 1 February in Kathmandu by a minute.
    add_event(shared, "2025-01-31T18:16", company_id="ktm", value="4", user_id="edge")
    add_event(shared, "2025-01-15T09:30", company_id="utc", value="8", user_id="january")
    add_event(
        shared, "2025-01-15T09:30", "invoice.issued", category="billing", user_id=None, company_id="utc", value="64"
    )
    sent = {"category": "crypto", "currency": "BTC", "user_id": "january"}
    add_event(shared, "2025-01-15T09:30", "crypto.sent", company_id="utc", value="16", **sent)
    # So that what is stored reaches beyond February for all.
    add_event(shared, "2025-04-30T23:30", company_id="other")
    add_event(shared, "2025-04-30T23:30", "invoice.issued", category="billing", user_id=None, company_id="other")
    add_event(shared, "2025-04-30T23:30", "crypto.sent", company_id="other", **sent)
    close_inputs(shared, days("2025-02-01", "2025-04-30"))
    return shared


def live(connection: Connection, company: str, month: Window) -> Figures:
    first, last = month.start.date(), month.last_day
    window = local_window(connection, first, last, ZONES[company])
    revenue = revenue_metrics(connection, company, window, "EUR")
    users = user_metrics(connection, company, window)
    return revenue.total_revenue, revenue.invoiced, users.active_users, users.new_users


def stored(connection: Connection) -> dict[tuple[str, date], Figures]:
    rows = connection.execute(
        "SELECT company_id, period_date, r.total_revenue, r.invoiced, u.active_users, u.new_users "
        "FROM analytics_revenue_metrics AS r "
        "JOIN analytics_user_metrics AS u USING (company_id, granularity, period_date) "
        "WHERE granularity = 'month' AND company_id = ANY (%s)",
        [list(ZONES)],
    )
    return {(company, day): tuple(figures) for company, day, *figures in rows}


def test_a_local_month_has_what_lies_before_everything_that_is_closed(closed: Connection) -> None:
    assert {key: live(closed, key[0], days(f"{key[1]}").widen(Granularity.MONTH)) for key in EXPECTED} == EXPECTED
    for table in METRIC_TABLES:
        close_metric(closed, table, Granularity.MONTH, Window(JANUARY.start, FEBRUARY.end), "EUR")
    found = stored(closed)
    assert {key: found[key] for key in EXPECTED} == EXPECTED


def test_assets_and_event_types_of_what_was_never_closed_are_counted(closed: Connection) -> None:
    (sent,) = asset_volumes(closed, "utc", JANUARY, "EUR")
    assert (sent.sent, sent.transactions) == (Decimal(16), 1)
    assert {(each.event_type, each.events) for each in top_events(closed, "utc", JANUARY)} == {
        ("payment.received", 1),
        ("invoice.issued", 1),
        ("crypto.sent", 1),
    }
    within = Window(at("2025-01-15T09:30"), at("2025-01-15T09:31"))
    assert len(top_events(closed, "utc", within)) == 3


def test_what_was_stored_and_has_changed_is_not_read_from_the_events(connection: Connection) -> None:
    add_event(connection, "2025-02-10T12:00", value="1")
    close_inputs(connection, FEBRUARY)
    connection.execute(
        "INSERT INTO analytics_partitions (asset, window_start, window_end, closed_at) "
        "SELECT unnest(%s::text[]), %s, %s, now()",
        [[aggregate.name for aggregate in AGGREGATES], FEBRUARY.start, FEBRUARY.end],
    )
    # The second refresh takes the change of the other day into the log of what was stored.
    add_event(connection, "2025-02-05T12:00", value="2")
    for aggregate in AGGREGATES:
        if aggregate.granularity is not Granularity.MONTH:
            refresh(connection, aggregate, days("2025-02-10"))
    assert revenue_metrics(connection, "acme", FEBRUARY, "EUR").total_revenue == 1
    close_inputs(connection, FEBRUARY)
    assert revenue_metrics(connection, "acme", FEBRUARY, "EUR").total_revenue == 3
