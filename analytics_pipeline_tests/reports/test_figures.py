"""Series, months and changes."""

from datetime import date
from decimal import Decimal

import pytest

from analytics_pipeline.currencies import rounded
from analytics_pipeline.metrics.users import UserMonth
from analytics_pipeline.reports.figures import (
    change,
    earlier,
    gross,
    months_shown,
    revenue_series,
    trailing_months,
    user_series,
)
from analytics_pipeline_tests.reports.samples import MONTH, money

NOVEMBER, DECEMBER = date(2025, 11, 1), date(2025, 12, 1)


@pytest.mark.parametrize(
    ("this", "previous", "percent"),
    [
        ("15000", "12987.01", "15.50"),
        ("-150", "400", "-137.50"),
        ("300", "-150", None),
        ("5", "0", None),
        ("0", "4", "-100"),
    ],
)
def test_change(this: str, previous: str, percent: str | None) -> None:
    rate = change(Decimal(this), Decimal(previous))

    assert (rate is None) if percent is None else (rate is not None and rounded(rate, 2) == Decimal(percent))


def test_months_before() -> None:
    assert earlier(date(2026, 1, 1), 1) == DECEMBER
    assert earlier(date(2026, 1, 1), 12) == date(2025, 1, 1)
    assert trailing_months(MONTH)[0] == date(2025, 1, 1)
    assert len(trailing_months(MONTH)) == 13


def test_months_run_from_the_first_recorded_one() -> None:
    assert months_shown(MONTH, []) == (MONTH,)
    assert months_shown(MONTH, [NOVEMBER]) == (NOVEMBER, DECEMBER, MONTH)


def test_missing_months_count_as_zero() -> None:
    months = months_shown(MONTH, [NOVEMBER])
    (euro,) = revenue_series(months, [money(NOVEMBER, "EUR", "7.5")])

    assert [month.revenue for month in euro.months] == [Decimal("7.5"), Decimal(0), Decimal(0)]
    assert euro.previous == 0
    assert user_series(months, [UserMonth(DECEMBER, 3, 1)])[-1] == UserMonth(MONTH, 0, 0)


def test_currencies_stay_apart_and_the_busiest_comes_first() -> None:
    rows = [money(MONTH, "EUR", "1", transactions=2), money(MONTH, "BTC", "9", transactions=5)]

    assert [series.currency for series in revenue_series([MONTH], rows)] == ["BTC", "EUR"]


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [money(MONTH, "EUR", "1"), money(MONTH, "USD", "2"), money(DECEMBER, "EUR", "3")]
    months = (DECEMBER, MONTH)

    assert revenue_series(months, rows) == revenue_series(months, rows[::-1])


def test_a_total_is_exact_beyond_28_digits() -> None:
    amounts = ("123456789012345678901234567890", "0.000000000001")
    rows = [money(month, "EUR", amount, "-1") for month, amount in zip((DECEMBER, MONTH), amounts, strict=True)]
    (euro,) = revenue_series((DECEMBER, MONTH), rows)

    assert euro.total.revenue == Decimal("123456789012345678901234567890.000000000001")
    assert euro.total.refunds == -2


def test_payments_are_revenue_without_refunds() -> None:
    assert gross(money(MONTH, "EUR", "-150", "-250")) == 100
