"""Monthly recurring revenue: what moved it in the period, and its trend over thirteen months."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.currencies import money, percent
from analytics_pipeline.languages.wording import message
from analytics_pipeline.metrics.rates import RATES
from analytics_pipeline.metrics.rounding import LOSSES, round_movements
from analytics_pipeline.reports.charts import BridgeChart, Step
from analytics_pipeline.reports.content import Content, decimal
from analytics_pipeline.reports.figures import change
from analytics_pipeline.reports.months import MONTHS, MonthFigures
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections import figures
from analytics_pipeline.reports.sections.section import Section, figures_table
from analytics_pipeline.reports.sections.trends import (
    incomplete_months,
    months_shown,
    months_table,
    notes_on_months,
    trend_charts,
)
from analytics_pipeline.reports.tabular import Column, Kind, Table, Value, name, text

_FIGURES = (figures.mrr, figures.arr, figures.paying_customers, figures.arpa)
_RATES = tuple(map(figures.rate_of_subscriptions, RATES))
_BRIDGE_HEIGHT = 150.0
# The steps of the bridge: the name, and the short one under a bar.
_STEPS = {
    "new": (message("New"), message("New")),
    "reactivation": (message("Reactivation"), message("Reactivation")),
    "expansion": (message("Expansion"), message("Expansion")),
    "contraction": (message("Contraction"), message("Contraction")),
    "churn": (message("Churn"), message("Churn")),
    "fx": (message("Rates of exchange"), message("Rates")),
}
_ROUNDING = "rounding"


def tables(report: Report) -> list[Table]:
    """Return the period's figures, the bridge, that of each month, the rates that follow, and MRR by month."""
    currency, months = report.currency, months_shown(report)
    changes = [None, *(_change(this, before) for before, this in pairwise(months))]
    return [
        figures_table("mrr", message("MRR at the end of the period"), [figure(report) for figure in _FIGURES]),
        bridge(report),
        bridges_by_month(report),
        figures_table(
            "subscriptionRates", message("Rates of the subscriptions"), [figure(report) for figure in _RATES]
        ),
        months_table(
            report,
            "mrrByMonth",
            message("MRR by month, {currency}", currency=currency),
            (
                Column("mrr", message("MRR at the end")),
                Column("changePercent", message("Change"), Kind.CHANGE),
                Column("payingCustomers", message("Paying customers")),
            ),
            [
                (money(month.mrr, currency), percent(changed), month.paying_customers)
                for month, changed in zip(months, changes, strict=True)
            ],
        ),
    ]


def _change(this: MonthFigures, before: MonthFigures) -> Decimal | None:
    return change(this.mrr, before.mrr) if "mrr" not in this.incomplete | before.incomplete else None


def bridge(report: Report) -> Table:
    """Return MRR from start to end: losses are positive, and ``rounding`` is what the shown movements miss by."""
    shown = round_movements(report.movements, report.currency)
    rows = [
        ("start", message("MRR at the start"), shown.start),
        *((field, title, getattr(shown, field)) for field, (title, _) in _STEPS.items()),
        (_ROUNDING, message("Rounding"), shown.rounding),
        ("end", message("MRR at the end"), shown.end),
    ]
    return Table(
        "mrrMovements",
        message("From start to end, {currency}", currency=report.currency),
        (name("name"), text("movement", message("Movement")), Column("amount", message("Amount"))),
        rows,
        marked=len(rows) - 1,
    )


def bridges_by_month(report: Report) -> Table:
    """Return what moved MRR in each of the months, as ``bridge`` does in the period."""
    shown = [round_movements(month.movements, report.currency) for month in months_shown(report)]
    steps: dict[str, str] = {"start": message("Start"), **{field: short for field, (_, short) in _STEPS.items()}}
    columns = {**steps, _ROUNDING: message("Rounding"), "end": message("End")}
    return months_table(
        report,
        "mrrMovementsByMonth",
        message("What moved MRR by month, {currency}", currency=report.currency),
        [Column(field, title) for field, title in columns.items()],
        [[getattr(month, field) for field in columns] for month in shown],
    )


def _with_signs(by_month: Table) -> Table:
    """Return what moved MRR by month as a page shows it, with the signs that ``_as_steps`` prints."""
    keys = [column.key for column in by_month.columns]
    kept = [key for key in keys if key != _ROUNDING or any(by_month.column(key))]

    def shown(key: str, cell: Value) -> Value:
        return decimal(cell).copy_negate() if key in LOSSES and cell else cell

    return replace(
        by_month,
        columns=[column for column in by_month.columns if column.key in kept],
        rows=[[shown(key, cell) for key, cell in zip(keys, row, strict=True) if key in kept] for row in by_month.rows],
    )


def _as_steps(movements: Table) -> Table:
    """Return the bridge as a page shows it: a minus before losses, and rounding only where there is some."""
    rows = [
        (field, title, decimal(amount).copy_negate() if field in LOSSES and amount else amount)
        for field, title, amount in movements.rows
        if field != _ROUNDING or amount
    ]
    return replace(movements, rows=rows, marked=len(rows) - 1)


def pages(content: Content) -> list[Flowable]:
    """Return the bridge as a chart and a table, that of each month, the rates, and the trend."""
    report = content.report
    of_period, movements, moved_by_month, rates, by_month = tables(report)
    movements = _as_steps(movements)
    trend = trend_charts(
        content,
        [
            (
                message("MRR at the end of the month, {currency}", currency=report.currency),
                [m.mrr for m in report[MONTHS]],
            )
        ],
    )
    figures_placed = content.set(of_period)
    return [
        *content.heading(message("Monthly recurring revenue"), figures_placed.least_height + _BRIDGE_HEIGHT),
        figures_placed,
        Spacer(0, 12),
        _bridge_chart(content, movements),
        *content.titled(movements),
        Spacer(0, 16),
        *content.titled(_with_signs(moved_by_month)),
        *incomplete_months(content, lambda month: month.movements_incomplete),
        Spacer(0, 16),
        *content.titled(rates),
        Spacer(0, 16),
        *trend,
        *content.titled(by_month),
        *notes_on_months(content),
    ]


def _bridge_chart(content: Content, movements: Table) -> BridgeChart:
    labels = {
        "start": message("Start"),
        **{field: short for field, (_, short) in _STEPS.items()},
        "end": message("End"),
    }
    steps = [
        Step(decimal(amount), content.show(label), content.cell(amount), is_balance=field in {"start", "end"})
        for field, _, amount in movements.rows
        if (label := labels.get(str(field)))
    ]
    title = content.show(message("What moved MRR, {currency}", currency=content.report.currency))
    return BridgeChart(content.sheet, title, steps, (content.sheet.width, _BRIDGE_HEIGHT))


SECTION = Section("mrr", tables, pages, parts=[MONTHS])
