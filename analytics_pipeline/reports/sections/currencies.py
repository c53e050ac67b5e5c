"""Revenue in the currencies it was paid in, with the rates it was converted at."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from reportlab.platypus import Flowable

from analytics_pipeline.currencies import money
from analytics_pipeline.languages.wording import message
from analytics_pipeline.metrics.revenue import Unconverted
from analytics_pipeline.reports.cautions import MISSING_FROM
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.report_parts import Key, ReportLoader, ReportPart
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Kind, Table, Value, exchange_rate, share, text

_PARTS = {
    "start": message("MRR at the start"),
    "end": message("MRR at the end"),
    "new": message("new"),
    "reactivation": message("reactivation"),
    "expansion": message("expansion"),
    "contraction": message("contraction"),
    "churn": message("churn"),
    "refunds": message("refunds"),
}


@dataclass(frozen=True, slots=True)
class OriginalRevenue:
    """Revenue of the period in the currency it was paid in.

    ``revenue`` is payments minus refunds, ``refunds`` positive, both in ``currency``. ``converted`` and
    ``converted_refunds`` are what of them is in the figures: in the reporting currency, each day at its own rate, days
    without one left out; None without any. The rates say what one unit costs: the lowest and the highest of the days,
    and the average over the amounts, None where one is missing.
    """

    currency: str
    revenue: Decimal
    refunds: Decimal
    transactions: int
    converted: Decimal | None
    converted_refunds: Decimal | None
    lowest_rate: Decimal | None
    highest_rate: Decimal | None
    average_rate: Decimal | None


@dataclass(frozen=True, slots=True)
class RefundDay:
    """What was refunded on a day (UTC) in a currency, positive, and the same in the reporting currency."""

    day: date
    currency: str
    refunds: Decimal
    converted: Decimal | None


@dataclass(frozen=True, slots=True)
class OriginalAmounts:
    """Revenue of the period by original currency, and what of it was refunded on which days."""

    currencies: Sequence[OriginalRevenue]
    refund_days: Sequence[RefundDay]


def _read(loader: ReportLoader) -> Mapping[Key, OriginalAmounts]:
    currencies: defaultdict[Key, list[OriginalRevenue]] = defaultdict(list)
    days: defaultdict[Key, list[RefundDay]] = defaultdict(list)
    for key, currency, day, *amounts in loader.rows("report_currencies"):
        whole = OriginalRevenue(currency, *amounts)
        if day is None:
            currencies[key].append(whole)
        else:
            days[key].append(RefundDay(day, currency, whole.refunds, whole.converted_refunds))
    return {key: OriginalAmounts(of_key, days[key]) for key, of_key in currencies.items()}


ORIGINAL_AMOUNTS = ReportPart("original amounts", _read, OriginalAmounts((), ()))


def tables(report: Report) -> list[Table]:
    """Return revenue by currency, and the amounts for which no rate is known."""
    return [_by_currency(report), _unconverted(report)]


def _by_currency(report: Report) -> Table:
    currency = report.currency
    rows = [
        _row(row, currency, share(row.converted, report.whole_revenue)) for row in report[ORIGINAL_AMOUNTS].currencies
    ]
    return Table(
        "revenueByCurrency",
        message("Revenue by original currency"),
        (
            text("currency", message("Currency")),
            Column("revenue", message("Amount")),
            Column("transactions", message("Transactions")),
            Column("lowestRate", message("Lowest rate")),
            Column("highestRate", message("Highest rate")),
            Column("averageRate", message("Average rate")),
            Column("converted", message("In {currency}", currency=currency)),
            Column("sharePercent", message("Share"), Kind.PERCENT),
        ),
        rows,
        total=_total(report) if len(rows) > 1 else None,
    )


def _row(row: OriginalRevenue, reporting: str, of_whole: Value) -> tuple[Value, ...]:
    is_reporting = row.currency == reporting
    rates = (None, None, None) if is_reporting else (row.lowest_rate, row.highest_rate, row.average_rate)
    return (
        row.currency,
        money(row.revenue, row.currency),
        row.transactions,
        *map(exchange_rate, rates),
        money(row.converted, reporting),
        of_whole,
    )


def _total(report: Report) -> tuple[Value, ...]:
    transactions = sum(row.transactions for row in report[ORIGINAL_AMOUNTS].currencies)
    return (
        message("Total revenue"),
        "",
        transactions,
        "",
        "",
        "",
        money(report.revenue.figures.total_revenue, report.currency),
        "",
    )


def _unconverted(report: Report) -> Table:
    return Table(
        "unconverted",
        message("Amounts without a rate"),
        (
            text("figure", message("Missing from")),
            text("currency", message("Currency")),
            Column("amount", message("Amount")),
            Column("firstDate", message("First day"), Kind.DAY),
            Column("lastDate", message("Last day"), Kind.DAY),
        ),
        [
            (_missing_from(row), row.currency, money(row.amount, row.currency), row.first_day, row.last_day)
            for row in report.unconverted
        ],
    )


def _missing_from(row: Unconverted) -> str:
    figure = MISSING_FROM[row.figure]
    return message("{figure}: {part}", figure=figure, part=_PARTS[row.part]) if row.part else figure


def pages(content: Content) -> list[Flowable]:
    """Return the tables, with what the rates say; that of the amounts without a rate only if there are any."""
    by_currency, unconverted = tables(content.report)
    flowables = _converted(content, by_currency)
    if unconverted.rows:
        currency = content.report.currency
        missing = message(
            "No rate of the 7 days up to their day, or to that of another part of their movement, is known: they are "
            "left out of these figures in {currency}.",
            currency=currency,
        )
        flowables += [*content.titled(unconverted), content.note(missing)]
    return flowables


def _converted(content: Content, by_currency: Table) -> list[Flowable]:
    if not by_currency.rows:
        return [*content.heading(by_currency.title), content.note(message("No revenue in this period."))]
    placed = content.set(by_currency)
    rates = content.note(
        message(
            "A rate is what one unit of the currency costs in {currency}: the last one on or before the day of the "
            "payment. The average is over the amounts, and undefined where they cancel out.",
            currency=content.report.currency,
        )
    )
    return [*content.heading(by_currency.title, placed.least_height + content.height([rates])), placed, rates]


SECTION = Section("currencies", tables, pages, parts=[ORIGINAL_AMOUNTS])
