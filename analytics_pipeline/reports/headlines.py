"""The headline figures as words, for the mail that brings a report and the page that lists it.

Belongs here: each of them as the document prints it. Does not belong here: which they are (``sections.headline``),
their notation (``formats``).
"""

from analytics_pipeline.reports.documents import Figure
from analytics_pipeline.reports.formats import DEFAULT_LOCALE, Formats
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections import headline
from analytics_pipeline.reports.tabular import Kind, percent


def headline_figures(report: Report, locale: str = DEFAULT_LOCALE) -> tuple[Figure, ...]:
    """Return the headline figures, each with its change, in the notation of the document's locale."""
    formats = Formats(locale)
    return tuple(
        Figure(figure.title, formats.cell(figure.value, Kind.NUMBER), formats.cell(percent(figure.change), Kind.CHANGE))
        for figure in headline.headline_figures(report)
    )
