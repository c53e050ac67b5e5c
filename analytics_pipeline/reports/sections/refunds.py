"""Refunds: how much of what was paid, in which currency, and on which days."""

from collections.abc import Sequence
from decimal import Decimal, localcontext

from reportlab.platypus import Flowable

from analytics_pipeline.currencies import PRECISION, currency_digits, round_money
from analytics_pipeline.metrics.rounding import round_parts
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.report import RefundDay, Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Kind, Table, money, share, text

# A document names the days that matter; files have them all.
_MOST_DAYS = 10


def tables(report: Report) -> list[Table]:
    """Return refunds by currency, and by day and currency."""
    return [_by_currency(report), _by_day(report, report.refund_days, "Refunds by day")]


def _by_currency(report: Report) -> Table:
    currency = report.currency
    refunded = [row for row in report.currencies if row.refunds]
    whole = round_money(report.revenue.figures.refunds, currency)
    known = [row.converted_refunds for row in refunded if row.converted_refunds is not None]
    converted = iter(round_parts(known, whole, currency_digits(currency)))
    rows = []
    for row in refunded:
        with localcontext(prec=PRECISION):
            paid = row.revenue + row.refunds
        in_currency = None if row.converted_refunds is None else next(converted)
        rows.append(
            (
                row.currency,
                money(paid, row.currency),
                money(row.refunds, row.currency),
                share(row.refunds, paid),
                in_currency,
            )
        )
    return Table(
        "refundsByCurrency",
        "Refunds by currency",
        (
            text("currency", "Currency"),
            Column("payments", "Payments"),
            Column("refunds", "Refunds"),
            Column("sharePercent", "Share of payments", Kind.PERCENT),
            Column("converted", f"Refunds in {currency}"),
        ),
        rows,
        total=("Refunds", "", "", "", whole) if len(rows) > 1 else None,
    )


def _by_day(report: Report, days: Sequence[RefundDay], title: str) -> Table:
    return Table(
        "refundsByDay",
        title,
        (
            Column("day", "Day", Kind.DAY),
            text("currency", "Currency"),
            Column("refunds", "Refunds"),
            Column("converted", f"In {report.currency}"),
        ),
        [
            (day.day, day.currency, money(day.refunds, day.currency), money(day.converted, report.currency))
            for day in sorted(days, key=lambda day: (day.day, day.currency))
        ],
    )


def pages(content: Content) -> list[Flowable]:
    """Return refunds by currency, and the days with the most."""
    report = content.report
    if not report.refund_days:
        return [*content.heading("Refunds"), content.note("Nothing was refunded in this period.")]
    by_currency = content.set(_by_currency(report))
    days = report.refund_days
    title = "Refunds by day"
    if len(days) > _MOST_DAYS:
        title = f"Refunds by day: the {_MOST_DAYS} largest of {content.cell(len(days))}"
        days = sorted(days, key=lambda day: (-(day.converted or Decimal(0)), day.day, day.currency))[:_MOST_DAYS]
    return [
        *content.heading("Refunds", by_currency.least_height),
        by_currency,
        *content.titled(_by_day(report, days, title)),
    ]


SECTION = Section("refunds", tables, pages)
