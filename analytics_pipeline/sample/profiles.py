"""What the sample world looks like: companies, price lists, habits. Data, and no behaviour."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CompanyProfile:
    """One tenant. ``size`` scales its customers, ``growth`` is the monthly rise of its registrations."""

    slug: str
    currency: str
    size: float
    growth: float
    price_percent: int


# In order of appearance; after the last one they repeat with a number (``acme-trading-2``).
COMPANIES = (
    CompanyProfile("acme-trading", "EUR", size=1.00, growth=0.05, price_percent=100),
    CompanyProfile("nordwind-payments", "EUR", size=0.62, growth=0.09, price_percent=120),
    CompanyProfile("liberty-ledger", "USD", size=0.45, growth=0.06, price_percent=110),
    CompanyProfile("alpenblick-treasury", "EUR", size=0.24, growth=0.12, price_percent=160),
    CompanyProfile("kleinmarkt", "EUR", size=0.10, growth=-0.02, price_percent=80),
)

OTHER_CURRENCY = {"EUR": "USD", "USD": "EUR"}
OTHER_CURRENCY_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """A price list: cents per unit and interval, from the smallest tier to the largest."""

    interval: str
    interval_count: int
    tiers: tuple[int, ...]


MONTHLY = Plan("month", 1, (1900, 4900, 9900, 24900))
YEARLY = Plan("year", 1, (19000, 49000, 99000, 249000))
# Every plan as often as it is chosen.
PLANS_BY_WEIGHT = (
    *(MONTHLY,) * 56,
    *(YEARLY,) * 8,
    *(Plan("month", 3, (5400, 13900, 27900, 69900)),) * 6,
    *(Plan("week", 1, (500, 1200, 2500, 6000)),) * 2,
    *(Plan("day", 30, (1900, 4900, 9900, 24900)),) * 2,
    *(Plan("year", 2, (36000, 93000, 188000, 475000)),) * 1,
)

TIERS_BY_WEIGHT = (0, 0, 0, 0, 1, 1, 1, 2, 2, 3)
QUANTITIES_BY_WEIGHT = (1, 1, 1, 1, 1, 1, 2, 2, 3, 5)

FEATURES_BY_WEIGHT = (
    *("feature.dashboard_view",) * 6,
    *("feature.ledger_sync",) * 4,
    *("feature.invoice_export",) * 3,
    *("feature.wallet_connect",) * 2,
    *("feature.price_alert",) * 2,
    *("feature.tax_report",) * 1,
)
DEVICES_BY_WEIGHT = ("web", "web", "web", "mobile", "mobile", "api")
TRADES_BY_WEIGHT = (*("crypto.received",) * 5, *("crypto.sent",) * 3, *("crypto.swapped",) * 2)

# The chances of a customer's using the product on an ordinary day; customers take them in turn.
ENGAGEMENTS = (0.12, 0.22, 0.06, 0.18, 0.04, 0.14, 0.34, 0.08, 0.20, 0.11)
