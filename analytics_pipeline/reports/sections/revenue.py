"""Revenue of the period, and its trend over thirteen months."""

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.currencies import money, percent
from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.months import MONTHS
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections import figures
from analytics_pipeline.reports.sections.section import Section, figures_table
from analytics_pipeline.reports.sections.trends import (
    CHART_HEIGHT,
    months_shown,
    months_table,
    notes_on_months,
    trend_charts,
)
from analytics_pipeline.reports.tabular import Column, Kind, Table

_FIGURES = (figures.total_revenue, figures.invoiced, figures.refunds, figures.average_revenue_per_user)


def tables(report: Report) -> list[Table]:
    """Return the period's figures, and revenue by month."""
    currency = report.currency
    return [
        figures_table("revenue", message("Revenue of the period"), [figure(report) for figure in _FIGURES]),
        months_table(
            report,
            "revenueByMonth",
            message("Revenue by month, {currency}", currency=currency),
            (
                Column("totalRevenue", message("Total revenue")),
                Column("revenueGrowth", message("Growth"), Kind.CHANGE),
                Column("invoiced", message("Invoiced")),
                Column("refunds", message("Refunds")),
            ),
            [
                (
                    money(month.total_revenue, currency),
                    percent(month.growth),
                    money(month.invoiced, currency),
                    money(month.refunds, currency),
                )
                for month in months_shown(report)
            ],
        ),
    ]


def pages(content: Content) -> list[Flowable]:
    """Return the trend as a chart, and the tables."""
    report = content.report
    of_period, by_month = tables(report)
    chart = trend_charts(
        content,
        [(message("Total revenue, {currency}", currency=report.currency), [m.total_revenue for m in report[MONTHS]])],
    )
    figures_placed = content.set(of_period)
    return [
        *content.heading(message("Revenue"), figures_placed.least_height + CHART_HEIGHT),
        figures_placed,
        Spacer(0, 12),
        *chart,
        *content.titled(by_month),
        *notes_on_months(content),
    ]


SECTION = Section("revenue", tables, pages, parts=[MONTHS])
