"""What the sections of a document are set from: the report, and the sheet it is set on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import CondPageBreak, Flowable

from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.layout import Sheet
from analytics_pipeline.reports.pdf_tables import FiguresTable, Head
from analytics_pipeline.reports.printed_text import Printable
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.tabular import Kind, Table, Value


@dataclass(frozen=True, slots=True)
class Content:
    """A report and the sheet it is set on."""

    report: Report
    sheet: Sheet

    def show(self, raw: str) -> Printable:
        """Return any text printable, a message in the document's language."""
        return self.sheet.proof.printable(self.sheet.formats.say(raw))

    def cell(self, value: Value, kind: Kind = Kind.NUMBER) -> Printable:
        """Return a value printable."""
        return self.sheet.proof.printable(self.sheet.formats.cell(value, kind))

    @property
    def data_through(self) -> str:
        """The instant up to which events are in, in words."""
        instant = self.report.data_through
        return message("No events yet") if instant is None else self.sheet.formats.instant(instant)

    @property
    def period(self) -> str:
        """The period in words: the month, or its first and last day."""
        formats, window = self.sheet.formats, self.report.window
        first = window.first_day
        if self.report.is_month:
            return formats.month(first)
        return message("{first} to {last}", first=formats.day(first), last=formats.day(window.last_day))

    def heading(self, title: str, need: float = 0.0) -> list[Flowable]:
        """Return a section's heading, on a page with at least ``need`` points left for what follows."""
        return self._heading(title, self.sheet.styles.section, need)

    def subheading(self, title: str, need: float = 0.0) -> list[Flowable]:
        """Return a heading within a section, on a page with at least ``need`` points left for what follows."""
        return self._heading(title, self.sheet.styles.subsection, need)

    def _heading(self, title: str, style: ParagraphStyle, need: float) -> list[Flowable]:
        line = style.spaceBefore + style.leading + style.spaceAfter
        return [CondPageBreak(line + need), self.sheet.say(title, style)]

    def note(self, raw: str) -> Flowable:
        """Return a sentence in small print."""
        return self.sheet.say(raw, self.sheet.styles.note)

    def height(self, flowables: Iterable[Flowable]) -> float:
        """Return the points that flowables take below each other."""
        return sum(
            flowable.wrap(self.sheet.width, 0)[1] + flowable.getSpaceBefore() + flowable.getSpaceAfter()
            for flowable in flowables
        )

    def set(self, table: Table) -> FiguresTable:
        """Return a table as it is set on the page."""
        table = table.for_people()
        heads = [
            Head(self.show(column.title), is_text=column.kind in {Kind.TEXT, Kind.DAY, Kind.MONTH, Kind.INSTANT})
            for column in table.columns
        ]
        kinds = [column.kind for column in table.columns]
        rows = table.rows if table.rounding is None else [*table.rows, table.rounding]
        return FiguresTable(
            self.sheet,
            heads,
            [self._cells(row, kinds) for row in rows],
            total=None if table.total is None else self._cells(table.total, kinds),
            marked=table.marked,
        )

    def titled(self, table: Table) -> list[Flowable]:
        """Return a table under its title as a subheading; one that fits a page isn't broken."""
        placed = self.set(table)
        return [*self.subheading(table.title, placed.least_height), placed]

    def _cells(self, row: Sequence[Value], kinds: Sequence[Kind]) -> list[Printable]:
        return [self.cell(value, kind) for value, kind in zip(row, kinds, strict=True)]


def decimal(value: Value) -> Decimal:
    """Return a number of a table for a chart, zero where it is undefined."""
    return Decimal(value) if isinstance(value, Decimal | int) else Decimal(0)
