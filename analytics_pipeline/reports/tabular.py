"""The content of a section as tables: typed columns and rows, the same for every format.

Whatever prints a number prints it as it stands in a row: a ``Decimal`` carries the digits it is to be shown with, so
that a figure is rounded once and is the same in a PDF, a workbook and the answer of ``metrics``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal, localcontext
from enum import Enum, auto

from analytics_pipeline.currencies import PRECISION, missing_by, round_rate, rounded
from analytics_pipeline.languages.wording import message

Value = str | int | Decimal | date | datetime | None
"""A cell: text, a number to be shown with its own digits, a day or an aware instant; None is undefined."""

_ROUNDING = message("Rounding")
_EXCHANGE_DIGITS = 6
_MAX_EXCHANGE_DECIMALS = 12


class Kind(Enum):
    """What the cells of a column are.

    A change is a per cent shown with its sign, a month is its first day, a name is for programs only.
    """

    NAME = auto()
    TEXT = auto()
    NUMBER = auto()
    PERCENT = auto()
    CHANGE = auto()
    DAY = auto()
    MONTH = auto()
    INSTANT = auto()


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name for programs, as in the answers (``totalRevenue``), its heading for people, its kind."""

    key: str
    title: str
    kind: Kind = Kind.NUMBER


@dataclass(frozen=True, slots=True)
class Table:
    """A table. ``total`` is a last row that sums the others up, for documents only: a program adds by itself.

    Each row and the total are rounded by themselves: a line ``rounding`` holds what the rows then miss the total by.
    ``marked`` is the index of the row the report is about.
    """

    key: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    total: Sequence[Value] | None = None
    marked: int | None = None

    @property
    def rounding(self) -> Sequence[Value] | None:
        """The line between the rows and the total, None where the rows add up to it."""
        if self.total is None:
            return None
        missing = [self._missing(index) for index in range(len(self.columns))]
        return [_ROUNDING, *missing[1:]] if any(missing) else None

    def _missing(self, index: int) -> Value:
        """Return what a column of numbers misses its total by, nothing where that is none."""
        total = None if self.total is None else self.total[index]
        if self.columns[index].kind is not Kind.NUMBER or not isinstance(total, Decimal):
            return ""
        shown = [row[index] for row in self.rows]
        return missing_by([cell for cell in shown if isinstance(cell, Decimal)], total) or ""

    def for_people(self) -> "Table":
        """Return the table without what is for programs only."""
        kept = [index for index, column in enumerate(self.columns) if column.kind is not Kind.NAME]
        return replace(
            self,
            columns=[self.columns[index] for index in kept],
            rows=[[row[index] for index in kept] for row in self.rows],
            total=None if self.total is None else [self.total[index] for index in kept],
        )

    def column(self, key: str) -> list[Value]:
        """Return the cells of a column; raises ``KeyError`` for an unknown one."""
        for index, column in enumerate(self.columns):
            if column.key == key:
                return [row[index] for row in self.rows]
        raise KeyError(key)


def name(key: str) -> Column:
    """Return a column of names for programs."""
    return Column(key, key, Kind.NAME)


def text(key: str, title: str) -> Column:
    """Return a column of words."""
    return Column(key, title, Kind.TEXT)


def share(part: Decimal | int | None, whole: Decimal | int | None) -> Decimal | None:
    """Return a part of a whole in per cent as it is shown, None where one is not known or the whole not above zero."""
    if part is None or whole is None or whole <= 0:
        return None
    with localcontext(prec=PRECISION):
        return round_rate(Decimal(part) / Decimal(whole) * 100)


def exchange_rate(rate: Decimal | None) -> Decimal | None:
    """Return a rate of exchange with six significant digits."""
    if rate is None:
        return None
    return rounded(rate, min(max(_EXCHANGE_DIGITS - 1 - rate.adjusted(), 0), _MAX_EXCHANGE_DECIMALS)) if rate else rate
