"""What is shown live of a company: the current month's figures, and what today has brought so far."""

from analytics_pipeline.companies.local_windows import local_date, local_months, local_window
from analytics_pipeline.currencies import round_money
from analytics_pipeline.metrics.answers import Answer, one_view, revenue_answer, users_answer
from analytics_pipeline.metrics.revenue import revenue_metrics
from analytics_pipeline.metrics.top_events import EventCount, top_events
from analytics_pipeline.metrics.users import active_users
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import HorizonError
from analytics_pipeline.windows import Window

# More types than anybody uses: all of a day's events are counted.
_MAX_TYPES = 1_000
_MAX_SHOWN_TYPES = 20


def live_answer(connection: Connection, company_id: str | None, currency: str, time_zone: str) -> Answer:
    """Return the current figures of a company, ``None``: of all, in a reporting currency, in one state of the data.

    ``revenue`` and ``users`` are the answers of the time zone's current month (by the database's clock), ``users`` None
    where events that it needs have expired; ``today`` holds the day's revenue, active users, and events by type.
    """
    with one_view(connection):
        day = _today(connection, time_zone)
        month = local_months(connection, [day.first_day], time_zone)[0]
        try:
            users = users_answer(connection, company_id, month)
        except HorizonError:
            users = None
        counts = _events_of(connection, company_id, day)
        return {
            "companyId": company_id,
            "currency": currency,
            "timeZone": time_zone,
            "revenue": revenue_answer(connection, company_id, month, currency),
            "users": users,
            "today": {
                "date": f"{day.first_day}",
                "totalRevenue": round_money(
                    revenue_metrics(connection, company_id, day, currency).total_revenue, currency
                ),
                "activeUsers": active_users(connection, company_id, day),
                "events": sum(row.events for row in counts),
                "topEvents": [
                    {"eventType": row.event_type, "category": row.category, "events": row.events}
                    for row in counts[:_MAX_SHOWN_TYPES]
                ],
            },
        }


def events_today(connection: Connection, company_id: str | None, time_zone: str) -> int:
    """Return how many events of today there are of a company, ``None``: of all; cheap beside the figures."""
    return sum(row.events for row in _events_of(connection, company_id, _today(connection, time_zone)))


def _today(connection: Connection, time_zone: str) -> Window:
    today = local_date(connection, database_now(connection), time_zone)
    return local_window(connection, today, today, time_zone)


def _events_of(connection: Connection, company_id: str | None, day: Window) -> list[EventCount]:
    return top_events(connection, company_id, day, _MAX_TYPES)
