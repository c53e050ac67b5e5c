"""What a report is made from: the figures of one company, or of all of them, for one period.

Belongs here: the data model, exact and unrounded. Does not belong here: reading it from a database (``load``), what
of it is printed (``sections``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from analytics_pipeline.messages.mailed import ChangedFigure
from analytics_pipeline.metrics.rates import NO_RATES, SubscriptionRates
from analytics_pipeline.metrics.revenue import (
    OF_TOTAL_REVENUE,
    MrrMovements,
    RevenueMetrics,
    Unconverted,
)
from analytics_pipeline.metrics.signoffs import SignOff
from analytics_pipeline.metrics.top_events import EventCount
from analytics_pipeline.metrics.users import UserMetrics
from analytics_pipeline.reports.fired_alerts import FiredAlert
from analytics_pipeline.windows import Granularity, Window

ALL_COMPANIES = "All companies"


@dataclass(frozen=True, slots=True)
class PeriodRevenue:
    """The revenue answer of a period.

    ``incomplete`` names the figures that lack amounts without a rate, as ``Unconverted`` does.
    """

    figures: RevenueMetrics
    incomplete: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CompanyFigures:
    """A company beside the others; ``active_users`` is None where raw events it needs have expired."""

    company_id: str
    revenue: PeriodRevenue
    active_users: int | None


@dataclass(frozen=True, slots=True)
class MonthFigures:
    """A calendar month of the trend, UTC; amounts are in the reporting currency, ``refunds`` is positive.

    ``growth`` is that of ``total_revenue`` in per cent, None without a base. ``incomplete`` names the figures that lack
    amounts without a rate (``Unconverted``), ``revenueGrowth`` those of the month before; ``movements_incomplete``:
    what moved MRR lacks some. ``definitions_version`` is older than the report's for a month that keeps its figures
    because its events have expired.
    """

    month: date
    total_revenue: Decimal
    growth: Decimal | None
    invoiced: Decimal
    refunds: Decimal
    mrr: Decimal
    paying_customers: int
    incomplete: frozenset[str]
    total_users: int
    active_users: int | None
    new_users: int | None
    churned_users: int | None
    movements: MrrMovements
    movements_incomplete: bool
    definitions_version: int


@dataclass(frozen=True, slots=True)
class OriginalRevenue:
    """Revenue of the period in the currency it was paid in.

    ``revenue`` is payments minus refunds, ``refunds`` positive, both in ``currency``. ``converted`` and
    ``converted_refunds`` are what of them is in the figures: in the reporting currency, each day at its own rate, days
    without one left out; None without any. The rates say what one unit costs: the lowest and the highest of the days,
    and the average over the amounts, None where one is missing.
    """

    currency: str
    revenue: Decimal
    refunds: Decimal
    transactions: int
    converted: Decimal | None
    converted_refunds: Decimal | None
    lowest_rate: Decimal | None
    highest_rate: Decimal | None
    average_rate: Decimal | None


@dataclass(frozen=True, slots=True)
class RefundDay:
    """What was refunded on a day (UTC) in a currency, positive, and the same in the reporting currency."""

    day: date
    currency: str
    refunds: Decimal
    converted: Decimal | None


@dataclass(frozen=True, slots=True)
class CryptoVolume:
    """Quantity of an asset moved in the period by one kind of event, and its value at the days' rates, if known."""

    ticker: str
    event_type: str
    quantity: Decimal
    transactions: int
    converted: Decimal | None


@dataclass(frozen=True, slots=True)
class RawEvents:
    """What the raw events of the period say by themselves.

    ``late`` events came in after their day (UTC) had ended, ``after_end`` ones after the whole period had;
    ``longest_delay`` is the longest time from an event to its arrival.
    """

    events: int
    active_users: int
    total_revenue: Decimal
    invoiced: Decimal
    late: int
    after_end: int
    longest_delay: timedelta


@dataclass(frozen=True, slots=True)
class ClosedFigures:
    """What the metric tables hold of the period; None where it is not closed there, or in another currency."""

    total_revenue: Decimal | None
    invoiced: Decimal | None
    mrr: Decimal | None
    start_mrr: Decimal | None
    total_users: int | None
    active_users: int | None
    new_users: int | None
    churned_users: int | None


@dataclass(frozen=True, slots=True)
class Rejects:
    """How many records were turned away in the period (by arrival), and for which reason."""

    reason: str
    records: int


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known of the data behind the figures.

    ``raw`` is None when raw events of the period have expired, ``closed`` when it is no closed day or month.
    ``to_recompute`` names changes that closed figures of the period have not seen yet, ``unclosed`` the metrics of
    which the day or month is not closed. ``open_days`` holds the days (UTC) of the period, from the first to the last,
    with events that were never taken into the aggregates, or have changed since, whichever company they are of; None
    without any. Of a period that is not over both are empty.
    """

    raw: RawEvents | None
    closed: ClosedFigures | None
    rejects: Sequence[Rejects]
    to_recompute: Sequence[str]
    unclosed: Sequence[str] = ()
    open_days: Window | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report says of a company, or with ``company_id`` None of all of them.

    ``window`` is made of whole UTC days, ``previous`` is what it is compared with. ``data_through`` is the time of the
    newest event of all companies, at most the window's end, None without any. Amounts are in ``currency``, the
    reporting one, unless their row names another. ``months`` holds the thirteen calendar months up to the one in which
    the window ends; ``last_month_open``: that one is not over. ``events`` holds the most frequent types of the
    ``all_events`` there were. ``users`` is None where raw events it needs have expired; ``quality``, ``months`` and
    ``companies`` (in the report over all of them, the one with the most revenue first) are empty when no section asked
    for them. ``corrections`` holds the figures that differ from an earlier document of the period, ``signoffs`` the
    sign-offs of the month itself, and of those before it whose figures are restated.
    """

    company_id: str | None
    window: Window
    previous: Window
    currency: str
    as_of: datetime
    data_through: datetime | None
    provisional: bool
    last_month_open: bool
    definitions_version: int
    revenue: PeriodRevenue
    revenue_before: PeriodRevenue
    movements: MrrMovements
    users: UserMetrics | None
    users_before: UserMetrics | None
    companies: Sequence[CompanyFigures]
    months: Sequence[MonthFigures]
    currencies: Sequence[OriginalRevenue]
    unconverted: Sequence[Unconverted]
    refund_days: Sequence[RefundDay]
    crypto: Sequence[CryptoVolume]
    events: Sequence[EventCount]
    all_events: int
    alerts: Sequence[FiredAlert]
    quality: Quality | None
    corrections: Sequence[ChangedFigure] = ()
    signoffs: Sequence[SignOff] = ()
    rates: SubscriptionRates = NO_RATES
    rates_before: SubscriptionRates = NO_RATES

    @property
    def is_month(self) -> bool:
        """Whether the period is a calendar month."""
        return self.window == Window.of_month(self.window.start.date()) and self.window.is_aligned(Granularity.MONTH)

    @property
    def whole_revenue(self) -> Decimal | None:
        """The total revenue that shares are of, None while an amount of it lacks a rate."""
        is_whole = self.revenue.incomplete.isdisjoint(OF_TOTAL_REVENUE)
        return self.revenue.figures.total_revenue if is_whole else None

    @property
    def company(self) -> str:
        """The company's id as it came, or the words for all of them."""
        return ALL_COMPANIES if self.company_id is None else self.company_id
