"""The scenarios of DEFINITIONS.md: what happens, and what has to be answered. A company each, in 2026."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analytics_pipeline_tests.events.sample_records import json_lines

Raw = dict[str, Any]

# One euro costs so many dollars, one bitcoin so many euros; there is no rate of yen.
RATES = """\
rate_date,base,quote,rate
2026-01-31,EUR,USD,1.20
2026-02-10,EUR,USD,1.50
2026-02-28,EUR,USD,1.25
2026-03-05,BTC,EUR,60000
"""

NO_MOVEMENTS = dict.fromkeys(("new", "reactivation", "expansion", "contraction", "churn", "fx", "rounding"), "0.00")


@dataclass(frozen=True, eq=False)
class Question:
    """What ``metrics <command> --start --end --json`` must say, among other things."""

    command: str
    start: str
    end: str
    expected: Mapping[str, object]

    def __str__(self) -> str:
        return f"{self.command} {self.start}..{self.end}"


@dataclass(frozen=True)
class Scenario:
    company: str
    events: tuple[Raw, ...]
    questions: tuple[Question, ...]


def event(when: str, event_type: str, category: str, **fields: object) -> Raw:
    """Return a raw event at ``MM-DD[ HH:MM]`` of 2026."""
    day, _, time = when.partition(" ")
    return {
        "event_id": str(uuid.uuid4()),
        "timestamp": f"{day if len(day) > 5 else f'2026-{day}'}T{time or '12:00'}:00Z",
        "event_type": event_type,
        "category": category,
        **fields,
    }


def payment(when: str, value: str, *, user: str = "u1", currency: str = "EUR") -> Raw:
    """Return a payment, or a refund if the value is negative."""
    what = "payment.refunded" if value.startswith("-") else "payment.received"
    return event(when, what, "revenue", user_id=user, value=value, currency=currency)


def login(when: str, user: str) -> Raw:
    return event(when, "user.login", "user_activity", user_id=user)


def deletion(when: str, user: str) -> Raw:
    return event(when, "user.deleted", "user_activity", user_id=user)


def invoice(when: str, value: str, user: str) -> Raw:
    return event(when, "invoice.created", "billing", user_id=user, value=value, currency="EUR")


def subscription(
    when: str,
    what: str,
    status: str,
    price: str,
    interval: str = "month",
    *,
    count: int = 1,
    quantity: int = 1,
    name: str = "s1",
    user: str = "u1",
    currency: str = "EUR",
) -> Raw:
    """Return ``subscription.<what>``."""
    metadata = {
        "subscription_id": name,
        "interval": interval,
        "interval_count": count,
        "quantity": quantity,
        "status": status,
    }
    return event(
        when, f"subscription.{what}", "subscription", user_id=user, value=price, currency=currency, metadata=metadata
    )


def started(when: str, price: str, interval: str = "month", **more: Any) -> Raw:
    return subscription(when, "started", "active", price, interval, **more)


def month(number: int) -> tuple[str, str]:
    """Return first and last day of a month of 2026."""
    return f"2026-{number:02}-01", f"2026-{number:02}-{(31, 28, 31, 30, 31, 30)[number - 1]}"


def revenue(start: str, end: str, **expected: object) -> Question:
    return Question("revenue", start, end, expected)


def users(number: int, **expected: object) -> Question:
    """Ask for the users of a month."""
    return Question("users", *month(number), expected)


def bridge(start: str, end: str, **moved: str) -> Mapping[str, str]:
    """Return MRR at start and end and all that moved it: what isn't named is zero."""
    return {"start": start, **NO_MOVEMENTS, **moved, "end": end}


def movements(number: int, start: str, end: str, **moved: str) -> Question:
    """Ask the revenue answer of a month for its bridge."""
    return revenue(*month(number), mrr=end, mrrMovements=bridge(start, end, **moved))


def mrr_on(day: str, mrr: str) -> Question:
    return revenue(f"2026-{day}", f"2026-{day}", mrr=mrr)


def _headline() -> Scenario:
    """25 subscriptions of 100; 100 users: 85 seen before, of whom 70 are active now and 5 no more, and 15 new."""
    company = "headline"
    seen_before = [login("2025-12-20", f"u{n}") for n in range(85)]
    active_before = [login("01-15", f"u{n}") for n in range(75)]
    active_now = [login("02-15", f"u{n}") for n in [*range(70), *range(85, 100)]]
    return Scenario(
        company,
        (
            *seen_before,
            *active_before,
            *active_now,
            payment("01-31 23:59", "12987.01", user="u0"),
            payment("02-01 00:00", "9000.00", user="u0"),
            payment("02-28 23:59", "6000.00", user="u1"),
            *(started("2025-12-10", "100", name=f"s{n}", user=f"u{n}") for n in range(25)),
        ),
        (
            revenue(
                *month(2),
                companyId=company,
                startDate="2026-02-01",
                endDate="2026-02-28",
                mrr="2500.00",
                arr="30000.00",
                totalRevenue="15000.00",
                averageRevenuePerUser="150.00",
                revenueGrowth="15.5",
                currency="EUR",
                asOf="2026-03-01T00:00:00Z",
                provisional=False,
                payingCustomers=25,
                arpa="100.00",
                unconverted=[],
                definitionsVersion=3,
            ),
            Question(
                "users",
                *month(2),
                {
                    "totalUsers": 100,
                    "activeUsers": 85,
                    "newUsers": 15,
                    "churnedUsers": 5,
                    "churnRate": "5.0",
                    "activeUserRate": "85.0",
                    "usersAtStart": 85,
                    "activeBefore": 75,
                    "churnRateOfStart": "6.7",
                    "companyId": company,
                    "startDate": "2026-02-01",
                    "endDate": "2026-02-28",
                    "provisional": False,
                    "definitionsVersion": 3,
                },
            ),
        ),
    )


SCENARIOS = (
    _headline(),
    Scenario(
        "intervals",
        (
            started("01-05", "100", name="month"),
            started("01-05", "1200", "year", name="year"),
            started("01-05", "90", count=3, name="quarter"),
            started("01-05", "12", "week", name="week"),
            started("01-05", "2400", "year", count=2, name="two years"),
            started("01-05", "1", "day", name="day"),
        ),
        (revenue(*month(1), mrr="412.42", arr="4949.00", payingCustomers=1, arpa="412.42"),),
    ),
    Scenario(
        "trial",
        (subscription("01-10", "started", "trialing", "50"), subscription("01-24", "changed", "active", "50")),
        (
            mrr_on("01-23", "0.00"),
            movements(1, "0.00", "50.00", new="50.00"),
        ),
    ),
    Scenario(
        "trial-ends-unpaid",
        (subscription("01-10", "started", "trialing", "50"), subscription("01-24", "ended", "ended", "50")),
        (
            mrr_on("01-23", "0.00"),
            movements(1, "0.00", "0.00"),
            movements(2, "0.00", "0.00"),
        ),
    ),
    Scenario(
        "upgrade",
        (
            started("2025-12-16", "50"),
            subscription("01-16", "changed", "active", "80"),
            payment("01-16", "15.48"),
        ),
        (
            revenue(
                *month(1),
                mrr="80.00",
                totalRevenue="15.48",
                mrrMovements=bridge("50.00", "80.00", expansion="30.00"),
            ),
        ),
    ),
    Scenario(
        "scheduled-cancellation",
        (
            started("2025-12-10", "40"),
            subscription("01-20", "cancel_scheduled", "active", "40"),
            subscription("02-10", "ended", "ended", "40"),
        ),
        (
            movements(1, "40.00", "40.00"),
            movements(2, "40.00", "0.00", churn="40.00"),
        ),
    ),
    Scenario(
        "came-and-went",
        (started("01-03", "40"), subscription("01-20", "ended", "ended", "40")),
        (revenue(*month(1), mrr="0.00", payingCustomers=0, arpa=None, mrrMovements=bridge("0.00", "0.00")),),
    ),
    Scenario(
        "past-due",
        (
            started("01-01", "30"),
            subscription("03-01", "past_due", "past_due", "30"),
            subscription("03-16", "ended", "ended", "30"),
        ),
        (
            mrr_on("03-15", "30.00"),
            mrr_on("03-16", "0.00"),
            movements(3, "30.00", "0.00", churn="30.00"),
        ),
    ),
    Scenario(
        "pause",
        (
            started("01-01", "100"),
            subscription("04-05", "paused", "paused", "100"),
            subscription("06-01", "resumed", "active", "100"),
        ),
        (
            movements(4, "100.00", "0.00", contraction="100.00"),
            movements(5, "0.00", "0.00"),
            movements(6, "0.00", "100.00", expansion="100.00"),
        ),
    ),
    Scenario(
        "pause-and-dearer-return",
        (
            started("01-10", "50"),
            subscription("03-03", "paused", "paused", "50"),
            subscription("04-20", "resumed", "active", "80"),
        ),
        (
            movements(3, "50.00", "0.00", contraction="50.00"),
            movements(4, "0.00", "80.00", expansion="80.00"),
        ),
    ),
    Scenario(
        "ended-and-started-at-one-instant",
        (
            started("01-10", "50"),
            subscription("02-05 00:00", "ended", "ended", "50"),
            started("02-05 00:00", "80"),
        ),
        (movements(2, "50.00", "80.00", expansion="30.00"),),
    ),
    Scenario(
        "yearly-refunded",
        (
            started("01-05", "1200", "year"),
            payment("01-05", "1200"),
            subscription("03-10", "ended", "ended", "1200", "year"),
            payment("03-10", "-1200"),
        ),
        (
            revenue(*month(1), mrr="100.00", totalRevenue="1200.00", refunds="0.00"),
            revenue(*month(2), mrr="100.00", totalRevenue="0.00"),
            revenue(
                *month(3),
                mrr="0.00",
                totalRevenue="-1200.00",
                refunds="1200.00",
                mrrMovements=bridge("100.00", "0.00", churn="100.00"),
            ),
            revenue("2026-01-01", "2026-03-31", mrr="0.00", totalRevenue="0.00"),
        ),
    ),
    Scenario(
        "refunds",
        (payment("01-10", "400"), payment("02-10", "100"), payment("02-11", "-250"), payment("03-10", "300")),
        (
            revenue(*month(1), totalRevenue="400.00", revenueGrowth=None),
            revenue(*month(2), totalRevenue="-150.00", revenueGrowth="-137.5", refunds="250.00"),
            revenue(*month(3), totalRevenue="300.00", revenueGrowth=None),
        ),
    ),
    Scenario(
        "dollars",
        (
            started("01-10", "100", name="euro", user="e"),
            started("01-10", "120", name="dollar", user="d", currency="USD"),
            subscription("02-10", "changed", "active", "180", name="dollar", user="d", currency="USD"),
        ),
        (Question("movements", *month(2), bridge("200.00", "244.00", expansion="40.00", fx="4.00")),),
    ),
    Scenario(
        "twins",
        (payment("01-10", "29.33"), payment("01-10", "29.33")),
        (revenue(*month(1), totalRevenue="58.66"),),
    ),
    Scenario(
        "bitcoin",
        (payment("03-05", "0.00012345", currency="BTC"),),
        (revenue(*month(3), totalRevenue="7.41", unconverted=[]),),
    ),
    Scenario(
        "thirds",
        (
            *(payment("01-10", "0." + "3" * 18) for _ in range(3)),
            *(started("01-10", "4", "year", name=f"s{n}") for n in range(3)),
        ),
        (revenue(*month(1), totalRevenue="1.00", mrr="1.00", arr="12.00"),),
    ),
    Scenario(
        "nobody",
        (),
        (
            revenue(
                *month(1),
                totalRevenue="0.00",
                mrr="0.00",
                arr="0.00",
                averageRevenuePerUser=None,
                revenueGrowth=None,
                invoiced="0.00",
                refunds="0.00",
                payingCustomers=0,
                arpa=None,
                mrrMovements=bridge("0.00", "0.00"),
                unconverted=[],
            ),
            Question("movements", *month(1), bridge("0.00", "0.00")),
            Question(
                "users",
                *month(1),
                {
                    "totalUsers": 0,
                    "activeUsers": 0,
                    "newUsers": 0,
                    "churnedUsers": 0,
                    "usersAtStart": 0,
                    "activeBefore": 0,
                    "churnRate": None,
                    "activeUserRate": None,
                    "churnRateOfStart": None,
                },
            ),
        ),
    ),
    Scenario(
        "deleted-while-active",
        (login("01-10", "gone"), deletion("01-20", "gone"), login("01-10", "stays"), login("02-10", "stays")),
        (
            users(1, totalUsers=2, activeUsers=2, newUsers=2, churnedUsers=1, churnRate="50.0"),
            users(
                2,
                totalUsers=1,
                usersAtStart=1,
                activeBefore=2,
                churnedUsers=0,
                churnRate="0.0",
                churnRateOfStart="0.0",
                activeUserRate="100.0",
            ),
        ),
    ),
    Scenario(
        "comes-back",
        (login("01-05", "u1"), deletion("01-20", "u1"), login("03-03", "u1")),
        (
            users(1, totalUsers=1, newUsers=1, churnedUsers=1, usersAtStart=0, churnRate="100.0"),
            users(2, totalUsers=0, activeUsers=0, churnedUsers=0, usersAtStart=0, activeBefore=1, churnRate=None),
            users(3, totalUsers=1, activeUsers=1, newUsers=0, churnedUsers=0, usersAtStart=0, activeUserRate="100.0"),
            users(4, totalUsers=1, activeUsers=0, churnedUsers=1, usersAtStart=1, activeBefore=1, churnRate="100.0"),
            Question("users", "2026-02-01", "2026-03-02", {"totalUsers": 0}),
            Question("users", "2026-03-03", "2026-03-03", {"totalUsers": 1, "usersAtStart": 0}),
            Question("users", "2026-03-04", "2026-03-04", {"totalUsers": 1, "usersAtStart": 1}),
        ),
    ),
    Scenario(
        "back-within-the-month",
        (login("01-05", "u1"), deletion("02-05", "u1"), deletion("02-06", "u1"), login("02-07", "u1")),
        (
            users(2, totalUsers=1, activeUsers=1, churnedUsers=0, usersAtStart=1),
            # Between the deletions and the return.
            Question("users", "2026-02-05", "2026-02-05", {"totalUsers": 1, "churnedUsers": 1}),
            Question("users", "2026-02-06", "2026-02-06", {"totalUsers": 0, "churnedUsers": 0, "usersAtStart": 0}),
        ),
    ),
    Scenario(
        # An invoice makes a user of somebody again, but no active one: who was active in January is lost once more.
        "back-without-activity",
        (login("01-05", "u1"), deletion("01-20", "u1"), invoice("02-10", "50", "u1")),
        (
            users(1, churnedUsers=1),
            users(2, totalUsers=1, activeUsers=0, churnedUsers=1, usersAtStart=0, activeUserRate="0.0"),
            users(3, totalUsers=1, churnedUsers=0, usersAtStart=1),
        ),
    ),
    Scenario(
        # What happens at the instant of a deletion comes before it.
        "deleted-at-the-same-instant",
        (login("01-20 10:00", "u1"), deletion("01-20 10:00", "u1")),
        (users(1, totalUsers=1, activeUsers=1, churnedUsers=1), users(2, totalUsers=0, churnedUsers=0)),
    ),
    Scenario(
        "yen",
        (payment("05-10", "100"), payment("05-10", "5000", currency="JPY")),
        (
            revenue(
                *month(5),
                totalRevenue="100.00",
                unconverted=[
                    {
                        "figure": "totalRevenue",
                        "currency": "JPY",
                        "amount": "5000",
                        "firstDate": "2026-05-10",
                        "lastDate": "2026-05-10",
                    }
                ],
            ),
        ),
    ),
    Scenario(
        "many",
        tuple(started("01-10", "10", name=f"s{n}", user=f"u{n}") for n in range(1_001)),
        (
            revenue(
                *month(1),
                mrr="10010.00",
                payingCustomers=1_001,
                arpa="10.00",
                mrrMovements=bridge("0.00", "10010.00", new="10010.00"),
            ),
        ),
    ),
)


def as_lines(scenario: Scenario) -> str:
    """Return the scenario's events as JSON Lines, the newest first: the order of arrival must not matter."""
    return json_lines({**raw, "company_id": scenario.company} for raw in reversed(scenario.events))
