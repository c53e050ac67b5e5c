"""Crypto volumes: what was received, sent and swapped, in each asset."""

from reportlab.platypus import Flowable

from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Table, money, text


def tables(report: Report) -> list[Table]:
    """Return the volumes per asset and kind of event."""
    return [
        Table(
            "crypto",
            "Crypto volumes",
            (
                text("ticker", "Asset"),
                text("eventType", "Event"),
                Column("transactions", "Transactions"),
                Column("quantity", "Quantity"),
                Column("converted", f"Value in {report.currency}"),
            ),
            [
                (
                    row.ticker,
                    row.event_type,
                    row.transactions,
                    money(row.quantity, row.ticker),
                    money(row.converted, report.currency),
                )
                for row in report.crypto
            ],
        )
    ]


def pages(content: Content) -> list[Flowable]:
    """Return the table, with what its values say."""
    report = content.report
    if not report.crypto:
        return [*content.heading("Crypto volumes"), content.note("No crypto transactions in this period.")]
    (table,) = tables(report)
    placed = content.set(table)
    if any(row.converted is None for row in report.crypto):
        note = content.note("Without a value: no rate of the asset is known for one of the days.")
    else:
        note = content.note("Values are at the rates of the days, and in none of the revenue figures.")
    return [*content.heading("Crypto volumes", placed.least_height + content.height([note])), placed, note]


SECTION = Section("crypto", tables, pages)
