"""What the sections of a monthly report are made from: its data, its series and the sheet they are set on.

Belongs here: the report's data model, and the short ways from a value to its printable form.
Does not belong here: the sections themselves (``sections``), the order they stand in (``monthly``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from analytics_pipeline.metrics.revenue import RevenueMonth
from analytics_pipeline.metrics.users import UserMonth
from analytics_pipeline.reports.figures import (
    TRAILING_MONTHS,
    RevenueSeries,
    change,
    months_shown,
    revenue_series,
    trailing_months,
    user_series,
)
from analytics_pipeline.reports.layout import Sheet
from analytics_pipeline.reports.text import Printable, plain

ALL_COMPANIES = "All companies"

_CURRENCY_LIMIT = 16


@dataclass(frozen=True, slots=True)
class MonthlyReport:
    """Everything the report is made from.

    ``company_id`` None means all companies. ``month`` is the first day of the month reported. ``revenue`` and
    ``users`` hold up to thirteen months that end with ``month``, ascending; a month that is missing counts as
    zero. ``data_through`` is the aware instant up to which events are in, None before the first;
    ``provisional`` says that the month isn't final. Raises ``ValueError`` for rows that don't fit the month.
    """

    company_id: str | None
    month: date
    revenue: Sequence[RevenueMonth]
    users: Sequence[UserMonth]
    data_through: datetime | None
    provisional: bool
    definitions_version: int

    def __post_init__(self) -> None:
        """Refuse what would print a wrong figure: foreign months, a month twice, a naive instant."""
        if self.month.day != 1:
            raise ValueError(f"a report's month is given by its first day, not {self.month}")
        if self.data_through is not None and self.data_through.tzinfo is None:
            raise ValueError("data_through needs a time zone")
        trailing = trailing_months(self.month)
        if foreign := sorted(self.recorded_months.difference(trailing)):
            raise ValueError(f"rows outside the {TRAILING_MONTHS} months up to {self.month}: {foreign[0]}")
        if len({(row.month, row.currency) for row in self.revenue}) != len(self.revenue):
            raise ValueError("a month and currency occurs twice in the revenue rows")
        if len({row.month for row in self.users}) != len(self.users):
            raise ValueError("a month occurs twice in the user rows")

    @property
    def recorded_months(self) -> frozenset[date]:
        """The months of which there is a row."""
        return frozenset(row.month for row in self.revenue) | frozenset(row.month for row in self.users)


@dataclass(frozen=True, slots=True)
class Content:
    """The report with its series worked out, and the sheet it is set on."""

    report: MonthlyReport
    sheet: Sheet
    revenue: tuple[RevenueSeries, ...]
    users: tuple[UserMonth, ...]

    @classmethod
    def of(cls, report: MonthlyReport, sheet: Sheet) -> "Content":
        """Return the content of a report, its months filled with zeros where no row is."""
        months = months_shown(report.month, report.recorded_months)
        return cls(report, sheet, revenue_series(months, report.revenue), user_series(months, report.users))

    @property
    def company(self) -> str:
        """The company's id as it came, or the words for all of them."""
        return ALL_COMPANIES if self.report.company_id is None else self.report.company_id

    @property
    def data_through(self) -> str:
        """The instant up to which events are in, in words."""
        instant = self.report.data_through
        return "No events yet" if instant is None else self.sheet.formats.instant(instant)

    def show(self, raw: str) -> Printable:
        """Return any text printable."""
        return self.sheet.proof.printable(raw)

    def currency(self, series: RevenueSeries) -> str:
        """Return the currency's code in one short line."""
        return plain(series.currency, limit=_CURRENCY_LIMIT)

    def amount(self, value: Decimal, series: RevenueSeries) -> Printable:
        """Return a sum of money to the digits of the series' currency."""
        return self.show(self.sheet.formats.amount(value, series.currency))

    def no_amount(self) -> Printable:
        """Return the zero of a report without any currency."""
        return self.show(self.sheet.formats.number(Decimal(0), 2))

    def count(self, value: int) -> Printable:
        """Return a whole number."""
        return self.show(self.sheet.formats.count(value))

    def change(self, this: Decimal | int, previous: Decimal | int) -> Printable:
        """Return the rate of change, or the sign for none."""
        return self.show(self.sheet.formats.change(change(this, previous)))
