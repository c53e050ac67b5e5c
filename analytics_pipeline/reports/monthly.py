"""The monthly report: revenue and users of one company, or of all, up to one calendar month.

Belongs here: the report as a document: its sections in their order, its metadata, its name in the store.
Does not belong here: reading a database, deciding what a metric means (``sql/functions``), what a section
says (``sections``), how a page looks (``layout``, ``tables``, ``charts``, ``cards``). A new section is one
module and one entry in ``_SECTIONS``.
"""

from dataclasses import dataclass
from datetime import UTC

from analytics_pipeline.reports.artifacts import artifact_name
from analytics_pipeline.reports.content import ALL_COMPANIES, Content, MonthlyReport
from analytics_pipeline.reports.formats import DEFAULT_LOCALE
from analytics_pipeline.reports.layout import Frontispiece, PageSize, open_sheet, render
from analytics_pipeline.reports.sections.headline import headline
from analytics_pipeline.reports.sections.months import revenue_by_month, users_by_month
from analytics_pipeline.reports.sections.notes import definitions
from analytics_pipeline.reports.sections.title import title_block
from analytics_pipeline.reports.sections.trends import revenue_trend, user_trend
from analytics_pipeline.reports.text import plain
from analytics_pipeline.windows import Window

__all__ = [
    "ALL_COMPANIES",
    "MonthlyReport",
    "RenderedReport",
    "monthly_report_name",
    "render_monthly_report",
]

_SECTIONS = (
    title_block,
    headline,
    revenue_trend,
    user_trend,
    revenue_by_month,
    users_by_month,
    definitions,
)


@dataclass(frozen=True, slots=True)
class RenderedReport:
    """A finished document.

    ``altered_characters`` lists, as ``U+05D0``, the characters of names that couldn't be shown: invisible
    ones were dropped, the others stand as U+FFFD.
    """

    pdf: bytes
    pages: int
    altered_characters: tuple[str, ...]


def render_monthly_report(
    report: MonthlyReport, *, page_size: PageSize = "A4", locale: str = DEFAULT_LOCALE
) -> RenderedReport:
    """Return the report as a PDF; equal input gives equal bytes.

    ``locale`` chooses the notation of figures and dates. An unknown page size or locale is an
    ``AnalyticsError``.
    """
    sheet = open_sheet(page_size, locale)
    content = Content.of(report, sheet)
    story = [flowable for section in _SECTIONS for flowable in section(content)]
    pdf, pages = render(story, sheet, _frontispiece(content), page_size)
    return RenderedReport(pdf=pdf, pages=pages, altered_characters=sheet.proof.altered)


def monthly_report_name(report: MonthlyReport) -> str:
    """Return the name of the report's document in the store; no two companies share one."""
    month = f"{report.month:%Y-%m}"
    if report.company_id is None:
        return artifact_name("monthly_report", month, "all-companies", suffix=".pdf")
    return artifact_name("monthly_report", month, "companies", report.company_id, suffix=".pdf")


def _frontispiece(content: Content) -> Frontispiece:
    report, formats = content.report, content.sheet.formats
    company = plain(content.company, limit=120)
    month = formats.month(report.month)
    through = f"Data through {content.data_through}" if report.data_through else "No events yet"
    provisional = ", provisional" if report.provisional else ""
    return Frontispiece(
        title=f"Monthly report {month}: {company}",
        subject=f"Revenue and users, {month} (UTC){provisional}; definitions {report.definitions_version}",
        head_left=content.show(f"Monthly report \u00b7 {company}"),
        head_right=content.show(f"{month}{provisional}"),
        foot_right=content.show(f"{through} \u00b7 Definitions version {report.definitions_version}"),
        dated=(report.data_through or Window.of_month(report.month).end).astimezone(UTC),
    )
