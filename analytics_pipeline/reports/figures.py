"""What a report derives from its figures: which months it shows, and changes."""

from datetime import date
from decimal import Decimal, localcontext

from analytics_pipeline.companies.local_windows import month_dates
from analytics_pipeline.currencies import PRECISION
from analytics_pipeline.windows import Granularity, Window

TRAILING_MONTHS = 13


def period_granularity(window: Window) -> Granularity | None:
    """Return of which granularity a window of whole days is a period, in its time zone; None: it is no day or month."""
    if window.first_day == window.last_day:
        return Granularity.DAY
    return Granularity.MONTH if (window.first_day, window.last_day) == month_dates(window.first_day) else None


def change(this: Decimal | int, previous: Decimal | int) -> Decimal | None:
    """Return ``(this - previous) / previous x 100``, or None when the previous value is zero or negative."""
    if previous <= 0:
        return None
    with localcontext(prec=PRECISION):
        return (Decimal(this) - Decimal(previous)) / Decimal(previous) * 100


def earlier(month: date, count: int) -> date:
    """Return the first day of the month ``count`` months before."""
    index = month.year * 12 + month.month - 1 - count
    return date(index // 12, index % 12 + 1, 1)


def trailing_months(month: date) -> tuple[date, ...]:
    """Return the thirteen months that end with ``month``."""
    return tuple(earlier(month, count) for count in reversed(range(TRAILING_MONTHS)))
