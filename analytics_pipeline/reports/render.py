"""A report in the form it was asked for."""

from dataclasses import dataclass

from analytics_pipeline.messages.recipients import PDF, XLSX
from analytics_pipeline.reports.choices import CSV
from analytics_pipeline.reports.order import AcceptedOrder
from analytics_pipeline.reports.report import Report


@dataclass(frozen=True, slots=True)
class Rendered:
    """A finished document: its bytes, the suffix of its name, its pages (None: it has none), what it had to alter.

    ``altered_characters`` lists, as ``U+05D0``, the characters of names that a PDF couldn't show: invisible ones were
    dropped, the others stand as U+FFFD.
    """

    content: bytes
    suffix: str
    pages: int | None = None
    altered_characters: tuple[str, ...] = ()


def render_report(report: Report, order: AcceptedOrder) -> Rendered:
    """Return the document; equal input gives equal bytes."""
    # Each form imports what it needs: reportlab alone takes a third of a second.
    if order.format == PDF:
        from analytics_pipeline.reports.document import render_pdf

        pdf = render_pdf(report, order.sections, page_size=order.page_size, locale=order.locale)
        return Rendered(pdf.content, ".pdf", pdf.pages, pdf.altered_characters)
    if order.format == XLSX:
        from analytics_pipeline.reports.workbook import render_workbook

        return Rendered(render_workbook(report, order.sections, order.locale), ".xlsx")
    if order.format == CSV:
        from analytics_pipeline.reports.csv_files import render_csv

        return Rendered(*render_csv(report, order.sections))
    from analytics_pipeline.reports.json_text import render_json

    return Rendered(render_json(report, order.sections), ".json")
