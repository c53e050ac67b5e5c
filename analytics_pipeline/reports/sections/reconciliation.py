"""The proof: the report's figures beside the metric tables and the raw events."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from reportlab.platypus import Flowable

from analytics_pipeline.currencies import CERTAIN_PLACES, rounded
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.report import ClosedFigures, RawEvents, Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Table, Value, money, name, text

AGREES = "agrees"
DIFFERS = "DIFFERS"

_Amount = Decimal | int | None


class _Figure(NamedTuple):
    """A figure, and what it is called among the closed figures and those of the raw events (None: not there)."""

    key: str
    title: str
    of_report: Callable[[Report], _Amount]
    closed: str | None = None
    raw: str | None = None


def _users(field: str) -> Callable[[Report], _Amount]:
    return lambda report: None if report.users is None else int(getattr(report.users, field))


_FIGURES = (
    _Figure(
        "totalRevenue",
        "Total revenue",
        lambda r: r.revenue.figures.total_revenue,
        "total_revenue",
        "total_revenue",
    ),
    _Figure("invoiced", "Invoiced", lambda r: r.revenue.figures.invoiced, "invoiced", "invoiced"),
    _Figure("startMrr", "MRR at the start", lambda r: r.movements.start, "start_mrr"),
    _Figure("mrr", "MRR at the end", lambda r: r.revenue.figures.mrr, "mrr"),
    _Figure("totalUsers", "Total users", _users("total_users"), "total_users"),
    _Figure("activeUsers", "Active users", _users("active_users"), "active_users", "active_users"),
    _Figure("newUsers", "New users", _users("new_users"), "new_users"),
    _Figure("churnedUsers", "Churned users", _users("churned_users"), "churned_users"),
    _Figure("events", "Events", lambda r: r.all_events, raw="events"),
)


@dataclass(frozen=True, slots=True)
class _Line:
    """A figure as the report, the metric tables and the raw events have it; None: not there to compare."""

    key: str
    title: str
    currency: str
    report: _Amount
    closed: _Amount
    raw: _Amount

    @property
    def name(self) -> str:
        """The title with the currency."""
        return f"{self.title}, {self.currency}" if self.currency else self.title

    @property
    def result(self) -> str:
        others = [value for value in (self.closed, self.raw) if value is not None]
        if self.report is None or not others:
            return ""
        return AGREES if all(_certain(value) == _certain(self.report) for value in others) else DIFFERS


def _certain(value: Decimal | int) -> Decimal:
    return rounded(Decimal(value), CERTAIN_PLACES)


def disagreements(report: Report) -> list[str]:
    """Return the figures on which report, metric tables and raw events don't agree."""
    return [line.title for line in _lines(report) if line.result == DIFFERS] if report.quality else []


def _lines(report: Report) -> list[_Line]:
    closed, raw = (report.quality.closed, report.quality.raw) if report.quality else (None, None)
    lines = []
    for figure in _FIGURES:
        value = figure.of_report(report)
        currency = report.currency if isinstance(value, Decimal) else ""
        others = (_named(closed, figure.closed), _named(raw, figure.raw))
        lines.append(_Line(figure.key, figure.title, currency, value, *others))
    return lines


def _named(figures: ClosedFigures | RawEvents | None, field: str | None) -> _Amount:
    value: _Amount = None if figures is None or field is None else getattr(figures, field)
    return value


def tables(report: Report) -> list[Table]:
    """Return the figures from the three places side by side."""
    return [
        Table(
            "reconciliation",
            "Reconciliation",
            (
                name("name"),
                text("figure", "Figure"),
                name("unit"),
                Column("report", "Report"),
                Column("metricTable", "Metric table"),
                Column("rawEvents", "Raw events"),
                text("result", "Result"),
            ),
            [
                (
                    line.key,
                    line.name,
                    line.currency,
                    *(_shown(value, line.currency) for value in (line.report, line.closed, line.raw)),
                    line.result,
                )
                for line in _lines(report)
            ],
        )
    ]


def _shown(value: _Amount, currency: str) -> Value:
    return money(value, currency) if isinstance(value, Decimal) else value


def pages(content: Content) -> list[Flowable]:
    """Return the table and what it compares."""
    (table,) = tables(content.report)
    placed = content.set(table)
    notes = [content.note(line) for line in _notes(content.report)]
    return [*content.heading("Reconciliation", placed.least_height + content.height(notes)), placed, *notes]


def _notes(report: Report) -> Sequence[str]:
    notes = [
        "Each figure is computed when the report is made, compared to the last decimal with what was stored when its "
        "partition was closed, and with what the raw events give past every aggregate.",
        "Balances and users first seen stand on every event there ever was; they have no sum of the period's events.",
    ]
    quality = report.quality
    if quality and quality.closed is None:
        notes.append("The period is no closed day or month, or not by today's definitions: there is no stored figure.")
    elif quality and quality.closed and None in (quality.closed.total_revenue, quality.closed.total_users):
        notes.append("A stored figure that is missing is in another currency, or its partition is not closed.")
    if quality and quality.raw is None:
        notes.append("Raw events of the period have expired; the aggregates keep its figures.")
    return notes


SECTION = Section("reconciliation", tables, pages, needs_quality=True)
