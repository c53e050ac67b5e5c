"""What a report is made from: the figures of one company, or of all of them, for one period."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar, cast

from analytics_pipeline.languages.wording import message
from analytics_pipeline.messages.mailed import ChangedFigure
from analytics_pipeline.metrics.rates import NO_RATES, SubscriptionRates
from analytics_pipeline.metrics.revenue import (
    OF_TOTAL_REVENUE,
    MrrMovements,
    RevenueFigures,
    RevenueMetrics,
    Unconverted,
)
from analytics_pipeline.metrics.signoffs import SignOff
from analytics_pipeline.metrics.top_events import EventCount
from analytics_pipeline.metrics.users import UserMetrics
from analytics_pipeline.reports.figures import period_granularity
from analytics_pipeline.reports.report_parts import ReportPart
from analytics_pipeline.windows import Granularity, Window

T = TypeVar("T")

ALL_COMPANIES = message("All companies")


@dataclass(frozen=True, slots=True)
class PeriodRevenue:
    """The revenue answer of a period.

    ``incomplete`` names the figures that lack amounts without a rate, as ``Unconverted`` does.
    """

    figures: RevenueMetrics
    incomplete: frozenset[str] = frozenset()


def period_revenue(figures: RevenueFigures) -> PeriodRevenue:
    """Return the revenue figures of a period as a report has them."""
    return PeriodRevenue(figures.metrics, frozenset(row.figure for row in figures.unconverted))


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report says of a company, or with ``company_id`` None of all of them.

    ``name`` is what the company is called, None: by its id. ``window`` is made of whole days of its time zone,
    ``previous`` is what it is compared with. ``data_through`` is the time of the
    newest event of all companies, at most the window's end, None without any. Amounts are in ``currency``, the
    reporting one, unless their row names another. ``last_month_open``: the month in which the window ends is not over.
    ``events`` holds the most frequent types of the ``all_events`` there were. ``users`` is None where raw events it
    needs have expired. ``parts`` holds by name what its sections asked for, to be read by ``report[PART]``.
    ``corrections`` holds the figures that differ from an earlier document of the period, ``signoffs`` the sign-offs of
    the month itself, and of those before it whose figures are restated.
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
    unconverted: Sequence[Unconverted]
    events: Sequence[EventCount]
    all_events: int
    corrections: Sequence[ChangedFigure] = ()
    signoffs: Sequence[SignOff] = ()
    rates: SubscriptionRates = NO_RATES
    rates_before: SubscriptionRates = NO_RATES
    parts: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None

    def __getitem__(self, part: ReportPart[T]) -> T:
        """Return a part. Raises ``ValueError`` if none of the sections that the report was loaded for asked for it."""
        if part.name not in self.parts:
            raise ValueError(f"the report was loaded without {part.name}, which its sections need")
        return cast("T", self.parts[part.name])

    def get(self, part: ReportPart[T]) -> T | None:
        """Return a part, None if no section asked for it."""
        return self[part] if part.name in self.parts else None

    @property
    def is_month(self) -> bool:
        """Whether the period is a calendar month."""
        return period_granularity(self.window) is Granularity.MONTH

    @property
    def whole_revenue(self) -> Decimal | None:
        """The total revenue that shares are of, None while an amount of it lacks a rate."""
        is_whole = self.revenue.incomplete.isdisjoint(OF_TOTAL_REVENUE)
        return self.revenue.figures.total_revenue if is_whole else None

    @property
    def company(self) -> str:
        """The company's name, its id as it came where it has none, or the words for all of them."""
        return ALL_COMPANIES if self.company_id is None else self.name or self.company_id

    @property
    def time_zone(self) -> str:
        """The time zone whose days and months it is of."""
        return self.window.time_zone
