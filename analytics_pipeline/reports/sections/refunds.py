"""Refunds: how much of what was paid, in which currency, and on which days."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext

from reportlab.platypus import Flowable

from analytics_pipeline.currencies import PRECISION, currency_digits, round_money
from analytics_pipeline.metrics.rounding import round_parts
from analytics_pipeline.reports.content import Content, decimal
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Kind, Table, money, share, text

# A document names the days that matter; files have them all.
_MOST_DAYS = 10


def tables(report: Report) -> list[Table]:
    """Return refunds by currency, and by day and currency."""
    return [_by_currency(report), _by_day(report)]


def _by_currency(report: Report) -> Table:
    refunded = [row for row in report.currencies if row.refunds]
    converted = _rounded(report, [row.converted_refunds for row in refunded])
    rows = []
    for row, in_currency in zip(refunded, converted, strict=True):
        with localcontext(prec=PRECISION):
            paid = row.revenue + row.refunds
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
            Column("converted", f"Refunds in {report.currency}"),
        ),
        rows,
        total=("Refunds", "", "", "", _whole(report)) if len(rows) > 1 else None,
    )


def _by_day(report: Report) -> Table:
    days = sorted(report.refund_days, key=lambda day: (day.day, day.currency))
    converted = _rounded(report, [day.converted for day in days])
    return Table(
        "refundsByDay",
        "Refunds by day",
        (
            Column("day", "Day", Kind.DAY),
            text("currency", "Currency"),
            Column("refunds", "Refunds"),
            Column("converted", f"In {report.currency}"),
        ),
        [
            (day.day, day.currency, money(day.refunds, day.currency), in_currency)
            for day, in_currency in zip(days, converted, strict=True)
        ],
    )


def _rounded(report: Report, converted: Sequence[Decimal | None]) -> Iterator[Decimal | None]:
    """Return refunds in the reporting currency such that those with a rate add up to the refunds of the period."""
    known = [amount for amount in converted if amount is not None]
    shown = iter(round_parts(known, _whole(report), currency_digits(report.currency)))
    return (None if amount is None else next(shown) for amount in converted)


def _whole(report: Report) -> Decimal:
    return round_money(report.revenue.figures.refunds, report.currency)


def pages(content: Content) -> list[Flowable]:
    """Return refunds by currency, and the days with the most."""
    report = content.report
    if not report.refund_days:
        return [*content.heading("Refunds"), content.note("Nothing was refunded in this period.")]
    by_currency, by_day = tables(report)
    placed = content.set(by_currency)
    return [*content.heading("Refunds", placed.least_height), placed, *content.titled(_largest(content, by_day))]


def _largest(content: Content, by_day: Table) -> Table:
    """Return the table without its smaller days if it is long; those without a rate come first, being of any size."""
    if len(by_day.rows) <= _MOST_DAYS:
        return by_day
    unknown = [row for row in by_day.rows if row[-1] is None]
    known = [row for row in by_day.rows if row[-1] is not None]
    known.sort(key=lambda row: decimal(row[-1]), reverse=True)
    of_all = f"the {_MOST_DAYS} largest of {content.cell(len(by_day.rows))}"
    first = ", those without a rate first" if unknown else ""
    return replace(by_day, title=f"{by_day.title}: {of_all}{first}", rows=[*unknown, *known][:_MOST_DAYS])


SECTION = Section("refunds", tables, pages)
