"""Changes of subscriptions, as short as tests want to write them, and the database they are loaded into."""

from dataclasses import astuple
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

from analytics_pipeline.events.load import EventLoader
from analytics_pipeline.events.model import AnalyticsEvent, check_event
from analytics_pipeline.metrics.revenue import MrrMovements
from analytics_pipeline.metrics.subscriptions import SUBSCRIPTION_COLUMNS
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.events_factory import at
from analytics_pipeline_tests.metrics.closing import days

COMPANY = "acme"
FIRST = date(2025, 1, 1)
SPAN = days("2025-01-01", "2025-02-28")
# Units of a currency for one euro; CHF has none, and dollars only from 10 January to 3 February.
RATES = {date(2025, 1, 10): "1.20", date(2025, 1, 17): "1.07", date(2025, 1, 24): "1.5", date(2025, 1, 27): "0.93"}
# SQL keeps 40 places: sums of its fractions are right in the first 30.
EXACT = Fraction(1, 10**30)


def rate(currency: str, day: date) -> Fraction | None:
    """Euros for one unit: the last rate on or before the day, at most 7 days old."""
    if currency == "EUR":
        return Fraction(1)
    known = [each for each in RATES if currency == "USD" and timedelta(0) <= day - each <= timedelta(days=7)]
    return 1 / Fraction(RATES[max(known)]) if known else None


class Change(NamedTuple):
    """A change of one of three subscriptions, of one of two users or of nobody named."""

    at: datetime
    name: str
    what: str
    status: str
    user: str | None
    price: str
    currency: str
    interval: str
    every: int
    quantity: int

    def as_event(self, number: int) -> AnalyticsEvent:
        metadata = {
            "subscription_id": self.name,
            "interval": self.interval,
            "interval_count": self.every,
            "quantity": self.quantity,
            "status": self.status,
        }
        event = AnalyticsEvent(
            UUID(int=number),
            self.at,
            COMPANY,
            self.user,
            f"subscription.{self.what}",
            "subscription",
            Decimal(self.price),
            self.currency,
            metadata,
        )
        check_event(event)
        return event

    def __repr__(self) -> str:
        """Show a failing example so that it can be read."""
        price = f"{self.quantity} x {self.price} {self.currency} per {self.every} {self.interval}"
        return f"{self.at:%d.%m. %H:%M} {self.name} of {self.user} {self.what} {self.status}: {price}"


def as_events(life: list[Change]) -> list[AnalyticsEvent]:
    return [change.as_event(number) for number, change in enumerate(life, start=1)]


def clear(connection: Connection) -> None:
    for table in ("events", "subscriptions", "closed_windows", "metric_changes", "metric_periods", "mrr_movements"):
        connection.execute(f"DELETE FROM analytics_{table}")


def table(connection: Connection) -> list[tuple[Any, ...]]:
    columns = ", ".join(f'"{name}"' for name in SUBSCRIPTION_COLUMNS)
    return connection.execute(f"SELECT {columns} FROM analytics_subscriptions ORDER BY 1, 2, 3").fetchall()


def adds_up(moved: MrrMovements) -> bool:
    # Not as Decimal, which rounds to 28 digits by itself.
    start, new, reactivation, expansion, contraction, churn, fx, end = map(Fraction, astuple(moved)[:8])
    return start + new + reactivation + expansion - contraction - churn + fx == end


def a_change(when: str, what: str = "started", status: str = "active", price: str = "30", **fields: Any) -> Change:
    values = {"name": "s1", "user": "u1", "currency": "EUR", "interval": "month", "every": 1, "quantity": 1, **fields}
    return Change(at=at(f"2025-{when}"), what=what, status=status, price=price, **values)


def load(connection: Connection, *life: Change) -> None:
    clear(connection)
    EventLoader(connection).load(as_events(list(life)))
