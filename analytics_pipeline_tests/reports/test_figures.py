"""Months and changes."""

from datetime import date
from decimal import Decimal

import pytest

from analytics_pipeline.currencies import rounded
from analytics_pipeline.reports.figures import change, earlier, trailing_months


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
    assert earlier(date(2026, 1, 1), 1) == date(2025, 12, 1)
    assert earlier(date(2026, 1, 1), 12) == date(2025, 1, 1)
    assert trailing_months(date(2026, 1, 1))[0] == date(2025, 1, 1)
    assert len(trailing_months(date(2026, 1, 1))) == 13
