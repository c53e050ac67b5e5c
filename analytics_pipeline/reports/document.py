"""A report as a PDF."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC

from analytics_pipeline.reports.catalogue import sections_of
from analytics_pipeline.reports.choices import PageSize
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.layout import TitlePage, open_sheet, render
from analytics_pipeline.reports.printed_text import plain
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.title import title_block


@dataclass(frozen=True, slots=True)
class Pdf:
    """A finished document.

    ``altered_characters`` lists, as ``U+05D0``, the characters of names that couldn't be shown: invisible ones were
    dropped, the others stand as U+FFFD.
    """

    content: bytes
    pages: int
    altered_characters: tuple[str, ...]


def render_pdf(report: Report, sections: Iterable[str], *, page_size: PageSize, locale: str) -> Pdf:
    """Return the report as a PDF; equal input gives equal bytes.

    ``locale`` chooses the notation of figures and dates. An unknown page size or locale is an ``AnalyticsError``.
    """
    sheet = open_sheet(page_size, locale)
    content = Content(report, sheet)
    story = title_block(content)
    for section in sections_of(sections):
        story += section.pages(content)
    pdf, pages = render(story, sheet, _frontispiece(content), page_size)
    return Pdf(pdf, pages, sheet.proof.altered)


def _frontispiece(content: Content) -> TitlePage:
    report = content.report
    company = plain(report.company, limit=120)
    kind = "Monthly report" if report.is_month else "Report"
    through = f"Data through {content.data_through}" if report.data_through else "No events yet"
    provisional = ", provisional" if report.provisional else ""
    return TitlePage(
        title=f"{kind} {content.period}: {company}",
        subject=f"{kind}, {content.period} (UTC){provisional}; definitions version {report.definitions_version}",
        head_left=content.show(f"{kind} \u00b7 {company}"),
        head_right=content.show(f"{content.period}{provisional}"),
        foot_right=content.show(f"{through} \u00b7 Definitions version {report.definitions_version}"),
        dated=(report.data_through or report.window.end).astimezone(UTC),
    )
