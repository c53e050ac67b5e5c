"""Puts figures and their scope together as the answers of DEFINITIONS: field names are a public contract."""

from decimal import Decimal
from typing import Any

from analytics_pipeline.currencies import round_money
from analytics_pipeline.metrics.revenue import (
    CurrencyRevenue,
    RevenueMonth,
    revenue_by_currency,
    revenue_series,
)
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION, scope
from analytics_pipeline.metrics.users import active_users, new_users, user_series
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Cadence, Window


def revenue_answer(connection: Connection, company_id: str | None, window: Window) -> dict[str, Any]:
    """Return the revenue of whole days: per currency, and by month where the window is whole months.

    Amounts are ``Decimal``, rounded half-even to the currency's digits.
    """
    months = revenue_series(connection, company_id, window) if window.is_aligned(Cadence.MONTH) else []
    return {
        **_scope(connection, company_id, window),
        "revenue": [
            {"currency": row.currency, **_amounts(row)} for row in revenue_by_currency(connection, company_id, window)
        ],
        "months": [{"month": f"{row.month:%Y-%m}", "currency": row.currency, **_amounts(row)} for row in months],
    }


def users_answer(connection: Connection, company_id: str | None, window: Window) -> dict[str, Any]:
    """Return distinct active users and new users of whole days, and by month where it is whole months."""
    months = user_series(connection, company_id, window) if window.is_aligned(Cadence.MONTH) else []
    return {
        **_scope(connection, company_id, window),
        "activeUsers": active_users(connection, company_id, window),
        "newUsers": new_users(connection, company_id, window),
        "months": [
            {"month": f"{row.month:%Y-%m}", "activeUsers": row.active_users, "newUsers": row.new_users}
            for row in months
        ],
    }


def _scope(connection: Connection, company_id: str | None, window: Window) -> dict[str, Any]:
    answered = scope(connection, company_id, window)
    through = answered.data_through
    return {
        "companyId": company_id,
        "startDate": f"{window.start:%Y-%m-%d}",
        "endDate": f"{window.last_day:%Y-%m-%d}",
        "dataThrough": f"{through:%Y-%m-%dT%H:%M:%SZ}" if through else None,
        "provisional": answered.provisional,
        "definitionsVersion": DEFINITIONS_VERSION,
    }


def _amounts(row: CurrencyRevenue | RevenueMonth) -> dict[str, Decimal | int]:
    return {
        "totalRevenue": round_money(row.revenue, row.currency),
        "refunds": round_money(row.refunds, row.currency),
        "transactions": row.transactions,
    }
