"""Revenue figures: thin typed calls of ``sql/functions/revenue.sql``."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Cadence, Window


@dataclass(frozen=True, slots=True)
class CurrencyRevenue:
    """Revenue of a period in one currency: payments minus refunds, exact; ``refunds`` is zero or negative."""

    currency: str
    revenue: Decimal
    refunds: Decimal
    transactions: int


@dataclass(frozen=True, slots=True)
class RevenueMonth:
    """Revenue of one calendar month (UTC) in one currency.

    ``revenue`` is payments minus refunds, exact, in ``currency``; ``refunds`` is the (negative or zero)
    part of it that was refunded; ``transactions`` counts payments and refunds.
    """

    month: date
    currency: str
    revenue: Decimal
    refunds: Decimal
    transactions: int


def revenue_by_currency(connection: Connection, company_id: str | None, window: Window) -> list[CurrencyRevenue]:
    """Return the revenue of whole UTC days per currency; ``None`` means all companies.

    Raises ``AnalyticsError`` for a window that is not made of whole days.
    """
    _require(window, Cadence.DAY)
    rows = connection.execute(
        "SELECT currency, revenue, refunds, transactions FROM analytics_revenue_by_currency(%s, %s, %s)",
        [company_id, window.start, window.end],
    ).fetchall()
    return [CurrencyRevenue(*row) for row in rows]


def revenue_series(connection: Connection, company_id: str | None, window: Window) -> list[RevenueMonth]:
    """Return the revenue of whole UTC months per month and currency, months without revenue left out.

    Raises ``AnalyticsError`` for a window that is not made of whole months.
    """
    _require(window, Cadence.MONTH)
    rows = connection.execute(
        "SELECT (month AT TIME ZONE 'UTC')::date, currency, revenue, refunds, transactions "
        "FROM analytics_revenue_series(%s, %s, %s)",
        [company_id, window.start, window.end],
    ).fetchall()
    return [RevenueMonth(*row) for row in rows]


def _require(window: Window, cadence: Cadence) -> None:
    if not window.is_aligned(cadence):
        raise AnalyticsError(f"Revenue is answered for whole UTC {cadence}s, not for {window}.")
