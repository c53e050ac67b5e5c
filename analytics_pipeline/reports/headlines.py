"""The headline figures as words, for the mail that brings a report and the page that lists it, and as numbers."""

from decimal import Decimal

from analytics_pipeline.currencies import percent, round_money
from analytics_pipeline.locales import DEFAULT_LOCALE
from analytics_pipeline.reports.documents import Figure
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections import headline
from analytics_pipeline.reports.tabular import Kind


def headline_figures(report: Report, locale: str = DEFAULT_LOCALE) -> tuple[Figure, ...]:
    """Return the headline figures, each with its change, in the language and notation of the document's locale."""
    formats = Formats(locale)
    return tuple(
        Figure(
            formats.say(figure.title),
            formats.cell(figure.value, Kind.NUMBER),
            formats.cell(percent(figure.change), Kind.CHANGE),
        )
        for figure in headline.headline_figures(report)
    )


def headline_numbers(report: Report) -> dict[str, Decimal | int]:
    """Return revenue, MRR and users by what they are called, ``MRR (EUR)``, in the digits of the reporting currency.

    Users are left out where events they need have expired.
    """
    figures, currency = report.revenue.figures, report.currency
    numbers: dict[str, Decimal | int] = {
        f"revenue ({currency})": round_money(figures.total_revenue, currency),
        f"MRR ({currency})": round_money(figures.mrr, currency),
    }
    return numbers if report.users is None else {**numbers, "users": report.users.total_users}
