"""A document made again from its row in the register: the figures that it showed, whatever the data say by now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.locales import DEFAULT_LOCALE
from analytics_pipeline.reports.choices import DEFAULT_PAGE_SIZE, page_size_of
from analytics_pipeline.reports.document import Pdf
from analytics_pipeline.reports.layout import CAUTION_TINT, TitlePage, open_sheet, render
from analytics_pipeline.reports.pdf_tables import FiguresTable, Head, placed
from analytics_pipeline.reports.printed_text import plain


@dataclass(frozen=True, slots=True)
class ShownDocument:
    """What the register knows of a document: whose it is, its period in words, its figures by what they are called.

    ``marks`` are the sentences of page one, ``dated`` is the instant up to which its data went, or its period's end.
    """

    company: str
    period: str
    figures: Sequence[tuple[str, str]]
    marks: Sequence[str]
    dated: datetime
    definitions_version: int


def render_remade(document: ShownDocument) -> Pdf:
    """Return it as a PDF; equal input gives equal bytes."""
    page_size = page_size_of(DEFAULT_PAGE_SIZE)
    sheet = open_sheet(page_size, DEFAULT_LOCALE)
    styles, show = sheet.styles, sheet.proof.printable
    heads = [Head(show("Figure"), is_text=True), Head(show("Value"), is_text=False)]
    rows = [[show(label), show(value)] for label, value in document.figures]
    story: list[Flowable] = [
        sheet.say("Monthly report, made again", styles.kicker),
        sheet.say(document.company, styles.title),
        sheet.say(document.period, styles.subtitle),
    ]
    for mark in document.marks:
        words = sheet.say(mark, styles.caution)
        story += [
            placed(sheet, [[words]], [sheet.width], padding=(8, 8, 3, 5), background=CAUTION_TINT),
            Spacer(0, 8),
        ]
    story += [sheet.say("Figures", styles.section), FiguresTable(sheet, heads, rows)]
    company = plain(document.company, limit=120)
    front = TitlePage(
        title=f"Monthly report {document.period}: {company}",
        subject=f"Monthly report, {document.period}, made again; definitions version {document.definitions_version}",
        head_left=show(f"Monthly report \u00b7 {company}"),
        head_right=show(document.period),
        foot_right=show(f"Definitions version {document.definitions_version}"),
        dated=document.dated,
    )
    content, pages = render(story, sheet, front, page_size)
    return Pdf(content, pages, sheet.proof.altered)
