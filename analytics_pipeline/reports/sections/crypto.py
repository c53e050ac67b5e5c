"""Crypto volumes: what was received, sent and swapped, in each asset."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from reportlab.platypus import Flowable

from analytics_pipeline.currencies import money
from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.report_parts import ReportPart, part_of_rows
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Table, text


@dataclass(frozen=True, slots=True)
class CryptoVolume:
    """Quantity of an asset moved in the period by one kind of event, and its value at the days' rates, if known."""

    ticker: str
    event_type: str
    quantity: Decimal
    transactions: int
    converted: Decimal | None


VOLUMES: ReportPart[Sequence[CryptoVolume]] = part_of_rows("report_crypto", CryptoVolume)


def tables(report: Report) -> list[Table]:
    """Return the volumes per asset and kind of event."""
    return [
        Table(
            "crypto",
            message("Crypto volumes"),
            (
                text("ticker", message("Asset")),
                text("eventType", message("Event")),
                Column("transactions", message("Transactions")),
                Column("quantity", message("Quantity")),
                Column("converted", message("Value in {currency}", currency=report.currency)),
            ),
            [
                (
                    row.ticker,
                    row.event_type,
                    row.transactions,
                    money(row.quantity, row.ticker),
                    money(row.converted, report.currency),
                )
                for row in report[VOLUMES]
            ],
        )
    ]


def pages(content: Content) -> list[Flowable]:
    """Return the table, with what its values say."""
    volumes = content.report[VOLUMES]
    if not volumes:
        return [
            *content.heading(message("Crypto volumes")),
            content.note(message("No crypto transactions in this period.")),
        ]
    (table,) = tables(content.report)
    placed = content.set(table)
    if any(row.converted is None for row in volumes):
        note = content.note(message("Without a value: no rate of the asset is known for one of the days."))
    else:
        note = content.note(message("Values are at the rates of the days, and in none of the revenue figures."))
    return [*content.heading(message("Crypto volumes"), placed.least_height + content.height([note])), placed, note]


SECTION = Section("crypto", tables, pages, parts=[VOLUMES])
