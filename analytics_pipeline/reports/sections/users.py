"""Users: total, active, new and churned, and their trend over thirteen months."""

from reportlab.platypus import Flowable, Spacer

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
    older_months,
    trend_charts,
)
from analytics_pipeline.reports.tabular import Column, Table

_FIGURES = (
    figures.total_users,
    figures.active_users,
    figures.new_users,
    figures.churned_users,
    figures.users_at_start,
    figures.active_before,
    figures.active_user_rate,
    figures.churn_rate,
    figures.churn_rate_of_start,
)


def tables(report: Report) -> list[Table]:
    """Return the period's figures, and users by month."""
    return [
        figures_table("users", message("Users of the period"), [figure(report) for figure in _FIGURES]),
        months_table(
            report,
            "usersByMonth",
            message("Users by month"),
            (
                Column("totalUsers", message("Total")),
                Column("activeUsers", message("Active")),
                Column("newUsers", message("New")),
                Column("churnedUsers", message("Churned")),
            ),
            [(m.total_users, m.active_users, m.new_users, m.churned_users) for m in months_shown(report)],
        ),
    ]


def pages(content: Content) -> list[Flowable]:
    """Return the trends as charts, and the tables."""
    report = content.report
    of_period, by_month = tables(report)
    charts = trend_charts(
        content,
        [
            (message("Total users"), [m.total_users for m in report[MONTHS]]),
            (message("Active users"), [m.active_users for m in report[MONTHS]]),
            (message("New users"), [m.new_users for m in report[MONTHS]]),
            (message("Churned users"), [m.churned_users for m in report[MONTHS]]),
        ],
    )
    uncounted: list[Flowable] = []
    if report.users is None:
        gone = message(
            "Raw events that users of this period are counted from have expired; whole months are kept permanently."
        )
        uncounted = [content.note(gone)]
    figures_placed = content.set(of_period)
    return [
        *content.heading(message("Users"), figures_placed.least_height + CHART_HEIGHT),
        figures_placed,
        *uncounted,
        Spacer(0, 12),
        *charts,
        *content.titled(by_month),
        *older_months(content),
    ]


SECTION = Section("users", tables, pages, parts=[MONTHS])
