"""The proof: the report's figures beside the metric tables and the raw events."""

from collections.abc import Sequence
from decimal import Decimal

from reportlab.platypus import Flowable

from analytics_pipeline.currencies import money
from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.quality import QUALITY
from analytics_pipeline.reports.reconciliation import Amount, compared
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Table, Value, name, text


def tables(report: Report) -> list[Table]:
    """Return the figures from the three places side by side."""
    return [
        Table(
            "reconciliation",
            message("Reconciliation"),
            (
                name("name"),
                text("figure", message("Figure")),
                name("unit"),
                Column("report", message("Report")),
                Column("metricTable", message("Metric table")),
                Column("rawEvents", message("Raw events")),
                text("result", message("Result")),
            ),
            [
                (
                    line.key,
                    line.name,
                    line.currency,
                    *(_shown(value, line.currency) for value in (line.report, line.closed, line.raw)),
                    line.result,
                )
                for line in compared(report)
            ],
        )
    ]


def _shown(value: Amount, currency: str) -> Value:
    return money(value, currency) if isinstance(value, Decimal) else value


def pages(content: Content) -> list[Flowable]:
    """Return the table and what it compares."""
    (table,) = tables(content.report)
    placed = content.set(table)
    notes = [content.note(line) for line in _notes(content.report)]
    return [*content.heading(message("Reconciliation"), placed.least_height + content.height(notes)), placed, *notes]


def _notes(report: Report) -> Sequence[str]:
    notes = [
        message(
            "Each figure is computed when the report is made, compared to the last decimal with what was stored when "
            "its partition was closed, and with what the raw events give past every aggregate."
        ),
        message(
            "Balances and users first seen stand on every event there ever was; they have no sum of the period's "
            "events."
        ),
    ]
    quality = report[QUALITY]
    if quality.closed is None:
        notes.append(
            message("The period is no closed day or month, or not by today's definitions: there is no stored figure.")
        )
    elif None in (quality.closed.total_revenue, quality.closed.total_users):
        notes.append(message("A stored figure that is missing is in another currency, or its partition is not closed."))
    if quality.raw is None:
        notes.append(message("Raw events of the period have expired; the aggregates keep its figures."))
    return notes


SECTION = Section("reconciliation", tables, pages, parts=[QUALITY], has_figures=False)
