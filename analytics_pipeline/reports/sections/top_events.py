"""The most frequent event types."""

from reportlab.platypus import Flowable

from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Kind, Table, share, text


def tables(report: Report) -> list[Table]:
    """Return the event types with their counts."""
    return [
        Table(
            "topEvents",
            "Top events",
            (
                text("eventType", "Event"),
                text("category", "Category"),
                Column("events", "Number"),
                Column("sharePercent", "Share of all events", Kind.PERCENT),
            ),
            [(row.event_type, row.category, row.events, share(row.events, report.all_events)) for row in report.events],
        )
    ]


def pages(content: Content) -> list[Flowable]:
    """Return the table."""
    report = content.report
    if not report.events:
        return [*content.heading("Top events"), content.note("No events in this period.")]
    (table,) = tables(report)
    placed = content.set(table)
    return [*content.heading("Top events", placed.least_height), placed]


SECTION = Section("top-events", tables, pages)
