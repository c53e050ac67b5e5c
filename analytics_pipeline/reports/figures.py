"""What a report derives from the rows it receives: which months, which series, which change.

Belongs here: arithmetic over typed metric rows, exact and unrounded.
Does not belong here: the definition of a metric (``sql/functions``), its presentation (``formats``).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext

from analytics_pipeline.currencies import PRECISION
from analytics_pipeline.metrics.revenue import RevenueMonth
from analytics_pipeline.metrics.users import UserMonth

TRAILING_MONTHS = 13


@dataclass(frozen=True, slots=True)
class RevenueSeries:
    """Consecutive months of revenue in one currency, at least one; the last is the report's month."""

    currency: str
    months: tuple[RevenueMonth, ...]

    @property
    def this(self) -> RevenueMonth:
        """The report's month."""
        return self.months[-1]

    @property
    def previous(self) -> Decimal:
        """The revenue of the month before, zero if it isn't there."""
        return self.months[-2].revenue if len(self.months) > 1 else Decimal(0)

    @property
    def total(self) -> RevenueMonth:
        """The sum over the series, under the report's month; one currency, so it adds up."""
        with localcontext(prec=PRECISION):
            return RevenueMonth(
                month=self.this.month,
                currency=self.currency,
                revenue=sum((month.revenue for month in self.months), Decimal(0)),
                refunds=sum((month.refunds for month in self.months), Decimal(0)),
                transactions=sum(month.transactions for month in self.months),
            )


def change(this: Decimal | int, previous: Decimal | int) -> Decimal | None:
    """Return ``(this - previous) / previous x 100``, or None when the previous value is zero or negative."""
    if previous <= 0:
        return None
    with localcontext(prec=PRECISION):
        return (Decimal(this) - Decimal(previous)) / Decimal(previous) * 100


def gross(month: RevenueMonth) -> Decimal:
    """Return the payments received, before refunds."""
    with localcontext(prec=PRECISION):
        return month.revenue - month.refunds


def earlier(month: date, count: int) -> date:
    """Return the first day of the month ``count`` months before."""
    index = month.year * 12 + month.month - 1 - count
    return date(index // 12, index % 12 + 1, 1)


def trailing_months(month: date) -> tuple[date, ...]:
    """Return the thirteen months that end with ``month``."""
    return tuple(earlier(month, count) for count in reversed(range(TRAILING_MONTHS)))


def months_shown(month: date, recorded: Collection[date]) -> tuple[date, ...]:
    """Return the consecutive months from the first recorded one to ``month``, at most thirteen."""
    first = min(recorded, default=month)
    return tuple(candidate for candidate in trailing_months(month) if candidate >= first)


def revenue_series(months: Sequence[date], rows: Sequence[RevenueMonth]) -> tuple[RevenueSeries, ...]:
    """Return one series per currency over the months, zero where no row is; the busiest currency first."""
    known = {(row.currency, row.month): row for row in rows}
    series = [
        RevenueSeries(
            currency,
            tuple(
                known.get((currency, month)) or RevenueMonth(month, currency, Decimal(0), Decimal(0), 0)
                for month in months
            ),
        )
        for currency in {row.currency for row in rows}
    ]
    return tuple(sorted(series, key=lambda one: (-one.total.transactions, one.currency)))


def user_series(months: Sequence[date], rows: Sequence[UserMonth]) -> tuple[UserMonth, ...]:
    """Return one row per month, zero where none is recorded."""
    known = {row.month: row for row in rows}
    return tuple(known.get(month) or UserMonth(month, 0, 0) for month in months)
