"""What may be added up over days and companies, and what may not."""

from datetime import date
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from analytics_pipeline.events.bulk_load import EventLoader
from analytics_pipeline.metrics.revenue import revenue_metrics
from analytics_pipeline.metrics.users import user_metrics
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import days
from analytics_pipeline_tests.metrics.single_figures import mrr_movements
from analytics_pipeline_tests.metrics.subscription_changes import RATES, a_change, as_events

pytestmark = pytest.mark.slow

COMPANIES = ("acme", "beta", "gamma")
MONTH = days("2025-01-01", "2025-01-31")
FORTNIGHT = days("2025-01-12", "2025-01-26")


@pytest.fixture(scope="module")
def filled(rates: Connection) -> Connection:
    """Three companies with payments, refunds, invoices, users and subscriptions in euros and dollars."""
    chance = Random(7)  # noqa: S311 - the same data every time
    life = []
    for company in COMPANIES:
        for _ in range(40):
            when = f"2025-01-{chance.randint(10, 31)}T{chance.randint(0, 23):02}:{chance.randint(0, 59):02}"
            user, amount = f"u{chance.randint(1, 9)}", f"{chance.randint(1, 10**6)}.{chance.randint(0, 10**18)}"
            what = chance.choice(["payment.received", "payment.refunded", "invoice.created"])
            category = "billing" if what.startswith("invoice") else "revenue"
            value = f"-{amount}" if what.endswith("refunded") else amount
            add_event(rates, when, what, category=category, company_id=company, user_id=user, value=value)
            change = a_change(when[5:], "changed", name=f"{company} {user}", user=user, price=amount, interval="week")
            life.append((company, change._replace(currency=chance.choice(["EUR", "USD"]))))
    changes = as_events([change for _, change in life])
    EventLoader(rates).load([e._replace(company_id=c) for e, (c, _) in zip(changes, life, strict=True)])
    return rates


def test_revenue_of_days_and_of_companies_adds_up_to_the_digit(filled: Connection) -> None:
    def added(field: str, of: list[Any]) -> Decimal:
        return sum((getattr(each, field) for each in of), Decimal(0)).normalize()

    month = revenue_metrics(filled, None, MONTH, "EUR")
    by_day = [
        revenue_metrics(filled, None, day, "EUR") for day in days("2025-01-10", "2025-01-31").split(Granularity.DAY)
    ]
    by_company = [revenue_metrics(filled, company, MONTH, "EUR") for company in COMPANIES]
    for field in ("total_revenue", "invoiced", "refunds"):
        assert getattr(month, field) == added(field, by_day) == added(field, by_company) != 0
    assert month.total_users == sum(company.total_users for company in by_company)
    assert month.paying_customers == sum(company.paying_customers for company in by_company)


def test_where_a_period_ends_the_next_one_starts(filled: Connection) -> None:
    balances = [mrr_movements(filled, None, day, "EUR") for day in FORTNIGHT.split(Granularity.DAY)]
    assert [day.start for day in balances[1:]] == [day.end for day in balances[:-1]]
    whole = mrr_movements(filled, None, FORTNIGHT, "EUR")
    assert (whole.start, whole.end) == (balances[0].start, balances[-1].end)


def test_movements_are_net_of_a_period_so_a_month_is_not_the_sum_of_its_days(filled: Connection) -> None:
    by_day = [mrr_movements(filled, "acme", day, "EUR") for day in FORTNIGHT.split(Granularity.DAY)]
    whole = mrr_movements(filled, "acme", FORTNIGHT, "EUR")
    assert whole.contraction < sum(day.contraction for day in by_day)


def test_nothing_moves_in_a_day_without_changes_but_rates_may(filled: Connection) -> None:
    quiet = days("2025-02-02")
    moved = mrr_movements(filled, None, quiet, "EUR")
    assert not any((moved.new, moved.reactivation, moved.expansion, moved.contraction, moved.churn, moved.fx))
    assert moved.start == moved.end
    # On the day after, dollars have no rate any more: the last one is 8 days old, and they are left out at both ends.
    assert date(2025, 1, 27) == max(RATES)
    gone = mrr_movements(filled, None, days("2025-02-04"), "EUR")
    assert 0 < gone.start == gone.end < moved.end
    assert gone.fx == 0


def test_distinct_users_of_days_are_never_added_up(filled: Connection) -> None:
    month = user_metrics(filled, None, MONTH)
    by_day = [user_metrics(filled, None, day).active_users for day in MONTH.split(Granularity.DAY)]
    by_company = [user_metrics(filled, company, MONTH) for company in COMPANIES]
    assert month.active_users < sum(by_day)
    for field in ("active_users", "total_users", "new_users", "churned_users", "users_at_start"):
        assert getattr(month, field) == sum(getattr(company, field) for company in by_company)


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize("window", [MONTH, FORTNIGHT, days("2025-03-20", "2025-04-02")], ids=str)
def test_the_session_s_time_zone_changes_no_figure(filled: Connection, window: Window, zone: str) -> None:
    """The last window's previous period begins on the other side of a change of the clocks."""

    def asked() -> list[object]:
        before = filled.execute("SELECT analytics_previous_start(%s, %s)", [window.start, window.end]).fetchone()
        return [
            revenue_metrics(filled, None, window, "EUR"),
            mrr_movements(filled, None, window, "EUR"),
            user_metrics(filled, None, window),
            before,
        ]

    utc = asked()
    filled.execute(f"SET TIME ZONE '{zone}'")
    try:
        assert asked() == utc
    finally:
        filled.execute("SET TIME ZONE 'UTC'")
