"""A report as a PDF."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC

from analytics_pipeline.languages.wording import message
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

    ``locale`` chooses the notation of figures and dates, and the language. An unknown page size or locale is an
    ``AnalyticsError``.
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
    company = plain(content.sheet.formats.say(report.company), limit=120)
    say = content.sheet.formats.say
    kind = say(message("Monthly report") if report.is_month else message("Report"))
    period = say(content.period)
    dated = say(message("{period}, provisional", period=period)) if report.provisional else period
    through = message("Data through {instant}", instant=content.data_through)
    about = {"kind": kind, "period": period, "zone": report.time_zone, "version": report.definitions_version}
    subject = (
        message("{kind}, {period} ({zone}), provisional; definitions version {version}", **about)
        if report.provisional
        else message("{kind}, {period} ({zone}); definitions version {version}", **about)
    )
    version = say(message("Definitions version {version}", version=report.definitions_version))
    return TitlePage(
        title=f"{kind} {period}: {company}",
        subject=say(subject),
        head_left=content.show(f"{kind} \u00b7 {company}"),
        head_right=content.show(dated),
        foot_right=content.show(f"{say(through if report.data_through else content.data_through)} \u00b7 {version}"),
        dated=(report.data_through or report.window.end).astimezone(UTC),
    )
