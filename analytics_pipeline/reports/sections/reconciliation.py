"""The proof: the report's figures beside the metric tables and the raw events."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from reportlab.platypus import Flowable

from analytics_pipeline.currencies import CERTAIN_PLACES, rounded
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Table, Value, money, name, text

AGREES = "agrees"
DIFFERS = "DIFFERS"

_Amount = Decimal | int | None

# Key, name, whether it is an amount of money.
_FIGURES = (
    ("totalRevenue", "Total revenue", True),
    ("invoiced", "Invoiced", True),
    ("startMrr", "MRR at the start", True),
    ("mrr", "MRR at the end", True),
    ("totalUsers", "Total users", False),
    ("activeUsers", "Active users", False),
    ("newUsers", "New users", False),
    ("churnedUsers", "Churned users", False),
    ("events", "Events", False),
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
    of_report, of_closed, of_raw = _of_report(report), _of_closed(report), _of_raw(report)
    return [
        _Line(key, title, report.currency if is_amount else "", of_report[key], of_closed.get(key), of_raw.get(key))
        for key, title, is_amount in _FIGURES
    ]


def _of_report(report: Report) -> dict[str, _Amount]:
    figures: dict[str, _Amount] = {
        "totalRevenue": report.revenue.figures.total_revenue,
        "invoiced": report.revenue.figures.invoiced,
        "startMrr": report.movements.start,
        "mrr": report.revenue.figures.mrr,
        "events": report.all_events,
    }
    users = report.users
    if users is None:
        return figures | dict.fromkeys(("totalUsers", "activeUsers", "newUsers", "churnedUsers"))
    return figures | {
        "totalUsers": users.total_users,
        "activeUsers": users.active_users,
        "newUsers": users.new_users,
        "churnedUsers": users.churned_users,
    }


def _of_closed(report: Report) -> dict[str, _Amount]:
    closed = report.quality.closed if report.quality else None
    if closed is None:
        return {}
    return {
        "totalRevenue": closed.total_revenue,
        "invoiced": closed.invoiced,
        "startMrr": closed.start_mrr,
        "mrr": closed.mrr,
        "totalUsers": closed.total_users,
        "activeUsers": closed.active_users,
        "newUsers": closed.new_users,
        "churnedUsers": closed.churned_users,
    }


def _of_raw(report: Report) -> dict[str, _Amount]:
    raw = report.quality.raw if report.quality else None
    if raw is None:
        return {}
    return {
        "totalRevenue": raw.total_revenue,
        "invoiced": raw.invoiced,
        "activeUsers": raw.active_users,
        "events": raw.events,
    }


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
