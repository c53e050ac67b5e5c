"""The most frequent event types."""

from reportlab.platypus import Flowable

from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Kind, Table, share, text


def tables(report: Report) -> list[Table]:
    """Return the event types with their counts."""
    return [
        Table(
            "topEvents",
            message("Top events"),
            (
                text("eventType", message("Event")),
                text("category", message("Category")),
                Column("events", message("Number")),
                Column("sharePercent", message("Share of all events"), Kind.PERCENT),
            ),
            [(row.event_type, row.category, row.events, share(row.events, report.all_events)) for row in report.events],
        )
    ]


def pages(content: Content) -> list[Flowable]:
    """Return the table."""
    report = content.report
    if not report.events:
        return [*content.heading(message("Top events")), content.note(message("No events in this period."))]
    (table,) = tables(report)
    placed = content.set(table)
    return [*content.heading(message("Top events"), placed.least_height), placed]


SECTION = Section("top-events", tables, pages)
