"""Refunds: how much of what was paid, in which currency, and on which days."""

from dataclasses import replace
from decimal import localcontext

from reportlab.platypus import Flowable

from analytics_pipeline.currencies import PRECISION, money
from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.content import Content, decimal
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.currencies import ORIGINAL_AMOUNTS
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Kind, Table, share, text

# A document names the days that matter; files have them all.
_MAX_DAYS = 10


def tables(report: Report) -> list[Table]:
    """Return refunds by currency, and by day and currency."""
    return [_by_currency(report), _by_day(report)]


def _by_currency(report: Report) -> Table:
    refunded = [row for row in report[ORIGINAL_AMOUNTS].currencies if row.refunds]
    rows = []
    for row in refunded:
        with localcontext(prec=PRECISION):
            paid = row.revenue + row.refunds
        rows.append(
            (
                row.currency,
                money(paid, row.currency),
                money(row.refunds, row.currency),
                share(row.refunds, paid),
                money(row.converted_refunds, report.currency),
            )
        )
    return Table(
        "refundsByCurrency",
        message("Refunds by currency"),
        (
            text("currency", message("Currency")),
            Column("payments", message("Payments")),
            Column("refunds", message("Refunds")),
            Column("sharePercent", message("Share of payments"), Kind.PERCENT),
            Column("converted", message("Refunds in {currency}", currency=report.currency)),
        ),
        rows,
        total=(message("Refunds"), "", "", "", money(report.revenue.figures.refunds, report.currency))
        if len(rows) > 1
        else None,
    )


def _by_day(report: Report) -> Table:
    days = sorted(report[ORIGINAL_AMOUNTS].refund_days, key=lambda day: (day.day, day.currency))
    return Table(
        "refundsByDay",
        message("Refunds by day"),
        (
            Column("day", message("Day"), Kind.DAY),
            text("currency", message("Currency")),
            Column("refunds", message("Refunds")),
            Column("converted", message("In {currency}", currency=report.currency)),
        ),
        [
            (day.day, day.currency, money(day.refunds, day.currency), money(day.converted, report.currency))
            for day in days
        ],
    )


def pages(content: Content) -> list[Flowable]:
    """Return refunds by currency, and the days with the most."""
    report = content.report
    if not report[ORIGINAL_AMOUNTS].refund_days:
        return [*content.heading(message("Refunds")), content.note(message("Nothing was refunded in this period."))]
    by_currency, by_day = tables(report)
    placed = content.set(by_currency)
    return [
        *content.heading(message("Refunds"), placed.least_height),
        placed,
        *content.titled(_largest(content, by_day)),
    ]


def _largest(content: Content, by_day: Table) -> Table:
    """Return the table without its smaller days if it is long; those without a rate come first, being of any size."""
    if len(by_day.rows) <= _MAX_DAYS:
        return by_day
    unknown = [row for row in by_day.rows if row[-1] is None]
    known = [row for row in by_day.rows if row[-1] is not None]
    known.sort(key=lambda row: decimal(row[-1]), reverse=True)
    number = content.cell(len(by_day.rows))
    title = (
        message(
            "Refunds by day: the {largest} largest of {number}, those without a rate first",
            largest=_MAX_DAYS,
            number=number,
        )
        if unknown
        else message("Refunds by day: the {largest} largest of {number}", largest=_MAX_DAYS, number=number)
    )
    return replace(by_day, title=title, rows=[*unknown, *known][:_MAX_DAYS])


SECTION = Section("refunds", tables, pages, parts=[ORIGINAL_AMOUNTS])
