"""Monthly recurring revenue: what moved it in the period, and its trend over thirteen months."""

from decimal import Decimal
from itertools import pairwise

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.metrics.rounding import round_movements
from analytics_pipeline.reports.charts import BridgeChart, Step
from analytics_pipeline.reports.content import Content, decimal
from analytics_pipeline.reports.figures import change
from analytics_pipeline.reports.report import MonthFigures, Report
from analytics_pipeline.reports.sections import figures
from analytics_pipeline.reports.sections.section import Section, figures_table
from analytics_pipeline.reports.sections.trends import incomplete_months, marked_month, months_shown, trend_charts
from analytics_pipeline.reports.tabular import Column, Kind, Table, money, name, percent, text

_FIGURES = (figures.mrr, figures.arr, figures.paying_customers, figures.arpa)
_BRIDGE_HEIGHT = 150.0
# The steps of the bridge: field, name, sign, the short name under a bar.
_STEPS = (
    ("new", "New", 1, "New"),
    ("reactivation", "Reactivation", 1, "Reactivation"),
    ("expansion", "Expansion", 1, "Expansion"),
    ("contraction", "Contraction", -1, "Contraction"),
    ("churn", "Churn", -1, "Churn"),
    ("fx", "Rates of exchange", 1, "Rates"),
)


def tables(report: Report) -> list[Table]:
    """Return the period's figures, the bridge, which adds up, and MRR by month."""
    currency, months = report.currency, months_shown(report)
    changes = [None, *(_change(this, before) for before, this in pairwise(months))]
    return [
        figures_table("mrr", "MRR at the end of the period", [figure(report) for figure in _FIGURES]),
        bridge(report),
        Table(
            "mrrByMonth",
            f"MRR by month, {currency}",
            (
                Column("month", "Month", Kind.MONTH),
                Column("mrr", "MRR at the end"),
                Column("changePercent", "Change", Kind.CHANGE),
                Column("payingCustomers", "Paying customers"),
            ),
            [
                (month.month, money(month.mrr, currency), percent(changed), month.paying_customers)
                for month, changed in zip(months, changes, strict=True)
            ],
            marked=marked_month(report, months),
        ),
    ]


def _change(this: MonthFigures, before: MonthFigures) -> Decimal | None:
    return change(this.mrr, before.mrr) if this.is_converted and before.is_converted else None


def bridge(report: Report) -> Table:
    """Return MRR from start to end: losses are negative, and the rows before the last add up to it."""
    shown = round_movements(report.movements, report.currency)
    steps = [(field, title, sign * getattr(shown, field) + 0) for field, title, sign, _ in _STEPS]
    return Table(
        "mrrMovements",
        f"From start to end, {report.currency}",
        (name("name"), text("movement", "Movement"), Column("amount", "Amount")),
        [("start", "MRR at the start", shown.start), *steps, ("end", "MRR at the end", shown.end)],
        marked=len(steps) + 1,
    )


def pages(content: Content) -> list[Flowable]:
    """Return the bridge as a chart and a table, and the trend."""
    report = content.report
    of_period, movements, by_month = tables(report)
    trend = trend_charts(content, [(f"MRR at the end of the month, {report.currency}", [m.mrr for m in report.months])])
    figures_placed = content.set(of_period)
    return [
        *content.heading("Monthly recurring revenue", figures_placed.least_height + _BRIDGE_HEIGHT),
        figures_placed,
        Spacer(0, 12),
        _bridge_chart(content, movements),
        *content.titled(movements),
        Spacer(0, 16),
        *trend,
        *content.titled(by_month),
        *incomplete_months(content),
    ]


def _bridge_chart(content: Content, movements: Table) -> BridgeChart:
    labels = ["Start", *(short for *_, short in _STEPS), "End"]
    steps = [
        Step(decimal(amount), content.show(label), content.cell(amount), is_balance=label in {"Start", "End"})
        for amount, label in zip(movements.column("amount"), labels, strict=True)
    ]
    title = content.show(f"What moved MRR, {content.report.currency}")
    return BridgeChart(content.sheet, title, steps, (content.sheet.width, _BRIDGE_HEIGHT))


SECTION = Section("mrr", tables, pages, needs_months=True)
