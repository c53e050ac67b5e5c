"""Reports of every shape the layout has to hold, made without a database."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from analytics_pipeline.metrics.revenue import RevenueMonth
from analytics_pipeline.metrics.users import UserMonth
from analytics_pipeline.reports.figures import trailing_months
from analytics_pipeline.reports.monthly import MonthlyReport

MONTH = date(2026, 1, 1)
TRAILING = trailing_months(MONTH)
DATA_THROUGH = datetime(2026, 2, 1, 6, 30, tzinfo=UTC)
TWELVE = ("EUR", "USD", "GBP", "CHF", "JPY", "KWD", "BTC", "ETH", "SEK", "PLN", "CLF", "USDT")

MARKUP = '<b>Fish & Chips</i> <img src="/etc/passwd"/> <font size="99"> &amp; &#0; <a href="file:///x">S&P 500'
CONTROLS = "Bell\x07 and\x00 null\x1b[31m line\nbreak\ttab"
RIGHT_TO_LEFT = "\u202eevil\u202c \u05d7\u05d1\u05e8\u05d4 \u0634\u0631\u0643\u0629\u200f"
LONG_WORD = "W" * 10_000
LONG_NAME = "Global Holdings & Sons International Trading Company " * 200


def report(
    company_id: str | None = "acme",
    *,
    revenue: Sequence[RevenueMonth] = (),
    users: Sequence[UserMonth] = (),
    month: date = MONTH,
    data_through: datetime | None = DATA_THROUGH,
    provisional: bool = False,
) -> MonthlyReport:
    """Return a report with the usual month and version."""
    return MonthlyReport(
        company_id=company_id,
        month=month,
        revenue=revenue,
        users=users,
        data_through=data_through,
        provisional=provisional,
        definitions_version=1,
    )


def money(month: date, currency: str, revenue: str, refunds: str = "0", transactions: int = 1) -> RevenueMonth:
    """Return a row of revenue written as text."""
    return RevenueMonth(month, currency, Decimal(revenue), Decimal(refunds), transactions)


def golden() -> MonthlyReport:
    """The first scenario of DEFINITIONS.md: 15,000 after 12,987.01 is 15.50 per cent more."""
    return report(
        revenue=[
            money(date(2025, 12, 1), "EUR", "12987.01", "-250", 90),
            money(MONTH, "EUR", "15000", "-120.5", 100),
        ],
        users=[UserMonth(date(2025, 12, 1), 80, 10), UserMonth(MONTH, 85, 15)],
    )


def large(currencies: Sequence[str] = ("EUR", "USD", "BTC"), *, provisional: bool = False) -> MonthlyReport:
    """Thirteen months of a growing platform in several currencies, USD with a month of net refunds."""
    revenue = [
        money(
            month,
            currency,
            str(_revenue(currency, index, rank)),
            str(min(-_revenue(currency, index, rank) / 37, 2 * _revenue(currency, index, rank))),
            (900 + 71 * index) // (rank + 1),
        )
        for index, month in enumerate(TRAILING)
        for rank, currency in enumerate(currencies)
    ]
    users = [
        UserMonth(month, 4100 + 230 * index + 97 * (index % 3), 310 + 12 * index - 40 * (index % 4))
        for index, month in enumerate(TRAILING)
    ]
    return report(None, revenue=revenue, users=users, provisional=provisional)


def _revenue(currency: str, index: int, rank: int) -> Decimal:
    scale = {"BTC": Decimal("0.00000731"), "ETH": Decimal("0.0000913"), "JPY": Decimal(140)}
    amount = Decimal(182_340 + 9_871 * index + 7_013 * (index % 4)) * scale.get(currency, Decimal(1)) / (rank + 1)
    return -amount / 9 if (currency, index) == ("USD", 4) else amount
