"""A closed week of days with three closed months around it, and what of it is stale."""

from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.tables import (
    METRIC_TABLES,
    MetricTable,
    close_metric,
    stale_periods,
)
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity
from analytics_pipeline_tests.events_factory import add_event, add_subscription_change
from analytics_pipeline_tests.metrics.closing import close_inputs, days

# What the tests close: a week of days, and three months around it.
WEEK = days("2025-01-28", "2025-02-03")
MONTHS = days("2025-01-01", "2025-03-31")

Stale = dict[str, list[str]]


def add_change(
    connection: Connection,
    when: str,
    what: str = "changed",
    status: str = "active",
    price: str = "50",
    user: str = "u1",
) -> None:
    add_subscription_change(connection, f"2025-{when}", what, status, user_id=user, price=price)


def add_login(connection: Connection, when: str, user: str, event_type: str = "user.login") -> None:
    add_event(connection, f"2025-{when}", event_type, category="user_activity", user_id=user, value=None, currency=None)


def settle(connection: Connection) -> None:
    """Compute all figures of the week's days and of the three months."""
    for table in METRIC_TABLES:
        close_metric(connection, table, Granularity.DAY, WEEK, "EUR")
        close_metric(connection, table, Granularity.MONTH, MONTHS, "EUR")


def stale(connection: Connection) -> Stale:
    """Return the stale periods: by metric, days as MM-DD and months as MM."""
    found: Stale = {}
    for period in stale_periods(connection):
        form = "%m" if period.granularity is Granularity.MONTH else "%m-%d"
        found.setdefault(period.metric, []).append(period.window.start.strftime(form))
    return found


def of(metrics: tuple[MetricTable, ...], *periods: str) -> Stale:
    return {table.metric: list(periods) for table in metrics}


def is_settled(connection: Connection) -> bool:
    """Tell whether no change is left, and every stored row is what the definitions give now."""
    for table in METRIC_TABLES:
        columns = ", ".join(name for name in table.columns if name not in ("computed_at", "period_date"))
        for granularity, window in ((Granularity.DAY, WEEK), (Granularity.MONTH, MONTHS)):
            stored = f"SELECT {columns} FROM {table.table} WHERE granularity = %s AND period_start < %s"
            due = f"SELECT {columns} FROM {table.rows_function}(%s, %s, %s, 'UTC', 'EUR', {DEFINITIONS_VERSION})"
            order, dates = " ORDER BY company_id, period_start", [window.start.date(), window.end.date()]
            if (
                connection.execute(stored + order, [str(granularity), window.end]).fetchall()
                != connection.execute(due + order, [str(granularity), *dates]).fetchall()
            ):
                return False
    return fetch_row(connection, "SELECT count(*) FROM analytics_metric_changes") == (0,)


def fill(connection: Connection) -> None:
    """A subscription from 29 January, changed on 2 February; payments and users; all of it closed."""
    for day in WEEK.split(Granularity.DAY):
        when = f"{day.start:%m-%d}T10:00"
        add_event(connection, f"2025-{when}", value="10")
        add_login(connection, when, "u1")
    add_change(connection, "01-29T12:00", "started", price="40")
    add_change(connection, "02-02T12:00", price="60")
    add_login(connection, "01-31T09:00", "u2")
    close_inputs(connection, MONTHS)
    settle(connection)
    assert is_settled(connection)
