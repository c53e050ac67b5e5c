"""What a section of a report is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from reportlab.platypus import Flowable

from analytics_pipeline.currencies import percent
from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.report_parts import ReportPart
from analytics_pipeline.reports.tabular import Column, Kind, Table, Value, name, text


@dataclass(frozen=True, slots=True)
class Section:
    """A section under the name it is chosen by.

    ``tables`` returns what every format shows, ``pages`` how a document sets it. ``parts`` are the data that it reads
    beside what every report holds. ``compares_companies``: it is part of reports over all companies only.
    ``has_figures``: its numbers are figures, of which a change makes a correction, and not what is known of the data or
    said in words.
    """

    name: str
    tables: Callable[[Report], Sequence[Table]]
    pages: Callable[[Content], list[Flowable]]
    parts: Sequence[ReportPart[Any]] = ()
    compares_companies: bool = False
    has_figures: bool = True


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure beside the same of the period before, both as they are shown, and the exact change in per cent.

    ``unit`` is a currency, ``%``, or empty for a number of things; a rate has no change.
    """

    key: str
    name: str
    unit: str
    value: Value
    previous: Value
    change: Decimal | None = None

    @property
    def title(self) -> str:
        """The name with the unit."""
        return message("{figure}, {unit}", figure=self.name, unit=self.unit) if self.unit else self.name


def figures_table(key: str, title: str, figures: Sequence[Figure]) -> Table:
    """Return figures as a table: this period, the one before, the change."""
    return Table(
        key,
        title,
        (
            name("name"),
            text("figure", message("Figure")),
            name("unit"),
            Column("value", message("This period")),
            Column("previous", message("Period before")),
            Column("changePercent", message("Change"), Kind.CHANGE),
        ),
        [(f.key, f.title, f.unit, f.value, f.previous, percent(f.change)) for f in figures],
    )
