"""The headline figures of a monthly report as words, for the mail that brings it.

Belongs here: which figures a mail shows, each as the document prints it. Does not belong here: computing them
(``figures``), their notation (``formats``).
"""

from analytics_pipeline.metrics.users import UserMonth
from analytics_pipeline.reports.content import MonthlyReport
from analytics_pipeline.reports.documents import MONTHLY_REPORT, Document, Figure
from analytics_pipeline.reports.figures import change, months_shown, revenue_series, user_series
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.monthly import monthly_report_name
from analytics_pipeline.reports.publish import PublishedReport
from analytics_pipeline.windows import Window

# The busiest currencies; the document has them all.
_MOST_CURRENCIES = 5


def monthly_document(report: MonthlyReport, published: PublishedReport) -> Document:
    """Return what is recorded of a monthly report that was just stored."""
    return Document(
        report=MONTHLY_REPORT,
        company_id=report.company_id,
        period=f"{report.month:%Y-%m}",
        period_end=Window.of_month(report.month).end,
        uri=published.uri,
        name=monthly_report_name(report),
        size=published.size,
        sha256=published.sha256,
        pages=published.pages,
        figures=headline_figures(report),
        data_through=report.data_through,
        provisional=report.provisional,
        definitions_version=report.definitions_version,
    )


def headline_figures(report: MonthlyReport) -> tuple[Figure, ...]:
    """Return revenue per currency, transactions, active and new users, each with its change."""
    formats = Formats()
    months = months_shown(report.month, report.recorded_months)
    revenue = revenue_series(months, report.revenue)
    *_, users_before, users = (UserMonth(report.month, 0, 0), *user_series(months, report.users))
    transactions = sum(series.this.transactions for series in revenue)
    transactions_before = sum(series.months[-2].transactions for series in revenue if len(series.months) > 1)
    amounts = [
        Figure(
            f"Revenue, {series.currency}",
            formats.amount(series.this.revenue, series.currency),
            formats.change(change(series.this.revenue, series.previous)),
        )
        for series in revenue[:_MOST_CURRENCIES]
    ]
    counts = [
        Figure(name, formats.count(this), formats.change(change(this, before)))
        for name, this, before in (
            ("Transactions", transactions, transactions_before),
            ("Active users", users.active_users, users_before.active_users),
            ("New users", users.new_users, users_before.new_users),
        )
    ]
    return (*amounts, *counts)
