"""Every figure that a report shows, by a name that stays: what tells whether a document corrects another one.

A name is table, column and row (``companies/mrr/acme``). Columns are listed by themselves, since a table without a row
could have had figures in them: so a release that shows more than the one before corrects nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from analytics_pipeline.languages.catalogues import ENGLISH
from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.json_text import plain_value
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Kind, Table, Value

_NUMBERS = (Kind.NUMBER, Kind.PERCENT, Kind.CHANGE)
# Which figure it is and by which definitions, not a figure.
_VERSION = "definitionsVersion"
_EVENTS = "events/value/all"


@dataclass(frozen=True, slots=True)
class ShownFigure:
    """A figure: its name, what it is called for people, its value exactly as it is shown (None: undefined).

    The label is in the language of the document, ``kind`` is that of its column unless it is a plain number.
    ``version`` is that of the definitions it follows, where those are not the report's.
    """

    name: str
    label: str
    value: str | None
    kind: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class ShownFigures:
    """The figures of a report, the most important first, and the columns (``companies/mrr``) there can be any in."""

    columns: Sequence[str]
    figures: Sequence[ShownFigure]

    def as_json(self) -> dict[str, Any]:
        """Return them in the form of ``analytics_report_documents.shown_figures``."""
        rows = [
            {field: value for field, value in asdict(figure).items() if field == "value" or value is not None}
            for figure in self.figures
        ]
        return {"columns": list(self.columns), "figures": rows}


def shown_figures(report: Report, sections: Iterable[Section], formats: Formats | None = None) -> ShownFigures:
    """Return the figures of the sections, in their order, and how many events there were.

    They are labelled in the words and the notation of ``formats``, None: those of the default locale.
    """
    formats = formats or Formats()
    tables = [table for section in sections if section.has_figures for table in section.tables(report)]
    columns = [f"{table.key}/{column.key}" for table in tables for column in _figure_columns(table)]
    events = ShownFigure(_EVENTS, formats.say(message("Events of the period")), str(report.all_events))
    figures = [figure for table in tables for figure in _of_table(table, report, formats)]
    return ShownFigures([*columns, "events/value"], [*figures, events])


def _figure_columns(table: Table) -> list[Column]:
    return [column for column in table.columns if column.kind in _NUMBERS and column.key != _VERSION]


def _of_table(table: Table, report: Report, formats: Formats) -> Iterator[ShownFigure]:
    columns = _figure_columns(table)
    seen: Counter[str] = Counter()
    for row in table.rows:
        cells = dict(zip((column.key for column in table.columns), row, strict=True))
        leading = table.columns[: table.columns.index(columns[0])] if columns else ()
        named = [(cells[column.key], column.kind) for column in leading if column.kind is not Kind.NAME]
        words = [_word(value, kind) for value, kind in named]
        # What a company is called may change, its id stays.
        key = next((str(cells[name]) for name in ("name", "companyId") if name in cells), "/".join(words))
        said = ", ".join(_in_words(value, kind, formats) for value, kind in named)
        # Gains and losses without a rate are rows of the same figure and currency.
        seen[key] += 1
        of_row = key if seen[key] == 1 else f"{key}#{seen[key]}"
        version = cells.get(_VERSION)
        for column in columns:
            value = plain_value(cells[column.key], column.kind)
            yield ShownFigure(
                name=f"{table.key}/{column.key}/{of_row}",
                label=formats.say(_label(table, said, column, formats)),
                value=None if value is None else str(value),
                kind=None if column.kind is Kind.NUMBER else column.kind.name.lower(),
                version=version if isinstance(version, int) and version != report.definitions_version else None,
            )


def _word(value: Value, kind: Kind) -> str:
    """Return a cell of the row's name; a message stays one."""
    return value if isinstance(value, str) else str(plain_value(value, kind))


def _in_words(value: Value, kind: Kind, formats: Formats) -> str:
    """Return a cell of the row's name for people; English words have ISO dates, as they always had."""
    if formats.language is not ENGLISH and kind in (Kind.DAY, Kind.MONTH):
        return formats.cell(value, kind)
    return formats.say(_word(value, kind))


def _label(table: Table, row: str, column: Column, formats: Formats) -> str:
    if "previous" not in [other.key for other in table.columns]:
        return f"{formats.say(table.title)}, {row}: {formats.say(column.title)}"
    match column.key:
        case "previous":
            return message("{figure} (period before)", figure=row)
        case "changePercent":
            return message("{figure} (change)", figure=row)
        case _:
            return row
