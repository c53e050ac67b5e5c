"""The proof of a report: its figures compared with the metric tables and the raw events."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from analytics_pipeline.currencies import CERTAIN_PLACES, rounded
from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.quality import QUALITY, ClosedFigures, RawEvents
from analytics_pipeline.reports.report import Report

AGREES = message("agrees")
DIFFERS = message("DIFFERS")

Amount = Decimal | int | None


class _Figure(NamedTuple):
    """A figure, and what it is called among the closed figures and those of the raw events (None: not there)."""

    key: str
    title: str
    of_report: Callable[[Report], Amount]
    closed: str | None = None
    raw: str | None = None


def _users(field: str) -> Callable[[Report], Amount]:
    return lambda report: None if report.users is None else int(getattr(report.users, field))


_FIGURES = (
    _Figure(
        "totalRevenue",
        message("Total revenue"),
        lambda r: r.revenue.figures.total_revenue,
        "total_revenue",
        "total_revenue",
    ),
    _Figure("invoiced", message("Invoiced"), lambda r: r.revenue.figures.invoiced, "invoiced", "invoiced"),
    _Figure("startMrr", message("MRR at the start"), lambda r: r.movements.start, "start_mrr"),
    _Figure("mrr", message("MRR at the end"), lambda r: r.revenue.figures.mrr, "mrr"),
    _Figure("totalUsers", message("Total users"), _users("total_users"), "total_users"),
    _Figure("activeUsers", message("Active users"), _users("active_users"), "active_users", "active_users"),
    _Figure("newUsers", message("New users"), _users("new_users"), "new_users"),
    _Figure("churnedUsers", message("Churned users"), _users("churned_users"), "churned_users"),
    _Figure("events", message("Events"), lambda r: r.all_events, raw="events"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A figure as the report, the metric tables and the raw events have it; None: not there to compare."""

    key: str
    title: str
    currency: str
    report: Amount
    closed: Amount
    raw: Amount

    @property
    def name(self) -> str:
        """The title with the currency."""
        return message("{figure}, {unit}", figure=self.title, unit=self.currency) if self.currency else self.title

    @property
    def result(self) -> str:
        """``AGREES`` or ``DIFFERS``, empty where there is nothing to compare with."""
        others = [value for value in (self.closed, self.raw) if value is not None]
        if self.report is None or not others:
            return ""
        return AGREES if all(_certain(value) == _certain(self.report) for value in others) else DIFFERS


def _certain(value: Decimal | int) -> Decimal:
    return rounded(Decimal(value), CERTAIN_PLACES)


def disagreements(report: Report) -> list[str]:
    """Return the figures on which report, metric tables and raw events don't agree."""
    return [line.title for line in compared(report) if line.result == DIFFERS]


def compared(report: Report) -> list[Line]:
    """Return the figures of a report with what they are compared with, exact and unrounded."""
    quality = report[QUALITY]
    lines = []
    for figure in _FIGURES:
        value = figure.of_report(report)
        currency = report.currency if isinstance(value, Decimal) else ""
        others = (_named(quality.closed, figure.closed), _named(quality.raw, figure.raw))
        lines.append(Line(figure.key, figure.title, currency, value, *others))
    return lines


def _named(figures: ClosedFigures | RawEvents | None, field: str | None) -> Amount:
    value: Amount = None if figures is None or field is None else getattr(figures, field)
    return value
