"""Changes of subscriptions, as short as tests want to write them, and the database they are loaded into."""

import os
from collections.abc import Sequence
from dataclasses import astuple
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

from analytics_pipeline.events.bulk_load import EventLoader
from analytics_pipeline.events.model import AnalyticsEvent, check_event
from analytics_pipeline.metrics.revenue import MrrMovements
from analytics_pipeline.metrics.subscriptions import SUBSCRIPTION_COLUMNS
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.events_factory import at
from analytics_pipeline_tests.metrics.closing import days
from analytics_pipeline_tests.metrics.reference import rate_between

COMPANY = "acme"
FIRST = date(2025, 1, 1)
SPAN = days("2025-01-01", "2025-02-28")
# Dollars for one euro, only from 10 January to 3 February; CHF has no rate.
RATES = {date(2025, 1, 10): "1.20", date(2025, 1, 17): "1.07", date(2025, 1, 24): "1.5", date(2025, 1, 27): "0.93"}
# Bitcoins cost dollars or pounds, on other days than euros do.
QUOTES = {
    ("EUR", "USD"): RATES,
    ("BTC", "USD"): {date(2025, 1, 8): "60000", date(2025, 1, 19): "66000", date(2025, 1, 25): "72600.5"},
    ("GBP", "BTC"): {date(2025, 1, 17): "0.00002", date(2025, 1, 25): "0.000021"},
    ("EUR", "GBP"): {date(2025, 1, 17): "0.80", date(2025, 1, 21): "0.85"},
}
# How many times as many random examples as usual: 20 takes minutes.
EXAMPLES = int(os.environ.get("FUZZ_TIMES", "1"))
ARRIVED = datetime(2025, 6, 1, tzinfo=UTC)
# SQL keeps 40 places: sums of its fractions are right in the first 30.
EXACT = Fraction(1, 10**30)


_FRACTIONS = {pair: {day: Fraction(quote) for day, quote in quotes.items()} for pair, quotes in QUOTES.items()}


def rate(currency: str, day: date) -> Fraction | None:
    """Return the euros for one unit on a day."""
    return rate_between(_FRACTIONS, currency, "EUR", day)


class Change(NamedTuple):
    """A change of one of three subscriptions, of one of two users or of nobody named; ``arrived``: in which batch."""

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
    sequence: int | str | None = None
    arrived: int = 0

    def as_event(self, number: int) -> AnalyticsEvent:
        metadata = {
            "subscription_id": self.name,
            "interval": self.interval,
            "interval_count": self.every,
            "quantity": self.quantity,
            "status": self.status,
            **({} if self.sequence is None else {"sequence": self.sequence}),
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
        place = f"{self.sequence}/{self.arrived}"
        return f"{self.at:%d.%m. %H:%M} {self.name} of {self.user} {self.what} {self.status}: {price}, {place}"


def as_events(life: list[Change]) -> list[AnalyticsEvent]:
    return [change.as_event(number) for number, change in enumerate(life, start=1)]


def arrivals_of(life: Sequence[Change]) -> dict[UUID, datetime]:
    """Return when each event of ``as_events`` came in."""
    return {UUID(int=n): ARRIVED + timedelta(minutes=change.arrived) for n, change in enumerate(life, start=1)}


def load_events(connection: Connection, events: list[AnalyticsEvent], arrivals: dict[UUID, datetime]) -> None:
    """Load events as if each had come in at its time."""
    EventLoader(connection).load(events)
    connection.execute(
        "UPDATE analytics_events AS e SET ingested_at = a.at "
        "FROM unnest(%s::uuid[], %s::timestamptz[]) AS a (event_id, at) WHERE e.event_id = a.event_id",
        [list(arrivals), list(arrivals.values())],
    )


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
    load_events(connection, as_events(list(life)), arrivals_of(life))
