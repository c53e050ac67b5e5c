"""The look of every report: paper, palette, type, and the running head and foot of each page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from io import BytesIO
from typing import Any

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A4, LETTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph

from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.choices import PageSize
from analytics_pipeline.reports.fonts import Fonts, document_fonts
from analytics_pipeline.reports.formats import Formats, formats_of
from analytics_pipeline.reports.opaque_canvas import OpaqueCanvas
from analytics_pipeline.reports.printed_text import (
    Printable,
    ShapedParagraph,
    TextSanitizer,
    draw,
    fit,
    paragraph,
    width,
)
from analytics_pipeline.reports.script_fonts import script_coverage

INK = HexColor("#16232F")
MUTED = HexColor("#5C6B78")
HAIRLINE = HexColor("#D3DAE0")
ACCENT = HexColor("#0F4C75")
ACCENT_SOFT = HexColor("#A8C0D3")
TINT = HexColor("#F3F6F8")
NEGATIVE = HexColor("#A63A2B")
NEGATIVE_SOFT = HexColor("#DDAAA2")
CAUTION = HexColor("#7A4B00")
CAUTION_TINT = HexColor("#FBF1DC")

PRODUCER = "analytics_pipeline"

_PAPER: dict[PageSize, tuple[float, float]] = {"A4": A4, "letter": LETTER}
_SIDE = 18 * mm
_TOP = 22 * mm
_BOTTOM = 22 * mm
_HEAD = 13 * mm
_FOOT = 12 * mm
_SMALL = 7.5
_PAGE_FORM_BOX = (0, -8, 160, 16)


@dataclass(frozen=True, slots=True)
class Styles:
    """The paragraph styles. ``section`` and ``subsection`` also become bookmarks of that level."""

    kicker: ParagraphStyle
    title: ParagraphStyle
    subtitle: ParagraphStyle
    section: ParagraphStyle
    subsection: ParagraphStyle
    fact_name: ParagraphStyle
    fact: ParagraphStyle
    sentence: ParagraphStyle
    note: ParagraphStyle
    caution: ParagraphStyle


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a section needs to set its content: fonts, styles, formats, the proofreader and the width."""

    fonts: Fonts
    styles: Styles
    formats: Formats
    proof: TextSanitizer
    width: float

    def say(self, raw: str, style: ParagraphStyle) -> ShapedParagraph:
        """Return a paragraph that shows any text literally, a message in the document's language."""
        return paragraph(self.proof.printable(self.formats.say(raw), limit=1_000), style)


@dataclass(frozen=True, slots=True)
class TitlePage:
    """What stands around the content: document metadata and the running head and foot.

    ``dated`` is the document's date in its metadata: the data's, not the clock's, so that equal data gives
    equal bytes.
    """

    title: str
    subject: str
    head_left: Printable
    head_right: Printable
    foot_right: Printable
    dated: datetime


def open_sheet(page_size: PageSize, locale: str) -> Sheet:
    """Return a sheet for one document on the given paper."""
    fonts = document_fonts()
    return Sheet(
        fonts=fonts,
        styles=_styles(fonts),
        formats=formats_of(locale),
        proof=TextSanitizer(fonts.coverage, script_coverage),
        width=_PAPER[page_size][0] - 2 * _SIDE,
    )


def render(story: Sequence[Flowable], sheet: Sheet, front: TitlePage, page_size: PageSize) -> tuple[bytes, int]:
    """Set the story on pages; return the PDF and its number of pages."""
    target = BytesIO()
    document = _Document(target, sheet, front, _PAPER[page_size])
    document.build(list(story), canvasmaker=_counting_canvas(sheet))
    return target.getvalue(), int(document.page)


class _Document(BaseDocTemplate):
    """A document of one column with running head, foot and bookmarks."""

    def __init__(self, target: BytesIO, sheet: Sheet, front: TitlePage, size: tuple[float, float]) -> None:
        super().__init__(
            target,
            pagesize=size,
            leftMargin=_SIDE,
            rightMargin=_SIDE,
            topMargin=_TOP,
            bottomMargin=_BOTTOM,
            title=front.title,
            subject=front.subject,
            author=PRODUCER,
            creator=PRODUCER,
            producer=PRODUCER,
            lang=sheet.formats.language.code,
            initialFontName=sheet.fonts.regular,
            invariant=1,
            pageCompression=1,
        )
        self._sheet = sheet
        self._front = front
        self._size = size
        self._entries = 0
        frame = Frame(
            _SIDE,
            _BOTTOM,
            size[0] - 2 * _SIDE,
            size[1] - _TOP - _BOTTOM,
            leftPadding=0,
            rightPadding=0,
            topPadding=0,
            bottomPadding=0,
        )
        self.addPageTemplates([PageTemplate(id="page", frames=[frame], onPage=self._furnish)])

    def beforeDocument(self) -> None:  # noqa: N802 - reportlab's hook
        """Date the document by its data and have its title shown by viewers."""
        dated = self._front.dated
        self.canv.setDateFormatter(lambda *_: f"D:{dated:%Y%m%d%H%M%S}Z")
        self.canv.setViewerPreference("DisplayDocTitle", "true")
        self.canv.showOutline()

    def afterFlowable(self, flowable: Flowable) -> None:  # noqa: N802 - reportlab's hook
        """Make a bookmark of each heading."""
        styles = self._sheet.styles
        levels = {styles.section.name: 0, styles.subsection.name: 1}
        if isinstance(flowable, Paragraph | ShapedParagraph) and flowable.style.name in levels:
            self._entries += 1
            key = f"heading-{self._entries}"
            self.canv.bookmarkPage(key)
            self.canv.addOutlineEntry(flowable.getPlainText(), key, levels[flowable.style.name], closed=False)

    def _furnish(self, canvas: Canvas, document: Any) -> None:
        """Draw the foot of every page, and the head of every page but the first, which has the title."""
        sheet, front, (page_width, page_height) = self._sheet, self._front, self._size
        left, right = _SIDE, page_width - _SIDE
        regular = sheet.fonts.regular
        canvas.saveState()
        canvas.setLineWidth(0.5)
        canvas.setStrokeColor(HAIRLINE)
        canvas.setFillColor(MUTED)
        if document.page > 1:
            y = page_height - _HEAD
            space = right - left - width(front.head_right, regular, _SMALL) - 6 * mm
            draw(canvas, (left, y), fit(front.head_left, regular, _SMALL, space), regular, _SMALL)
            draw(canvas, (right, y), front.head_right, regular, _SMALL, align="right")
            canvas.line(left, y - 2 * mm, right, y - 2 * mm)
        canvas.line(left, _FOOT + 4 * mm, right, _FOOT + 4 * mm)
        draw(canvas, (right, _FOOT), front.foot_right, regular, _SMALL, align="right")
        canvas.translate(left, _FOOT)
        canvas.doForm(_page_form(document.page))
        canvas.restoreState()


def _counting_canvas(sheet: Sheet) -> type[Canvas]:
    """Return a canvas that fills in "Page x of y" at its end, when the number of pages is known.

    Every page draws a form of its own that is defined last: one pass, where laying out twice costs double and
    replaying kept pages sends every bookmark to the first.
    """

    class CountingCanvas(OpaqueCanvas):
        def save(self) -> None:
            total = self.getPageNumber() - 1
            for page in range(1, total + 1):
                self.beginForm(_page_form(page), *_PAGE_FORM_BOX)
                self.setFillColor(MUTED)
                page_of = sheet.formats.say(message("Page {page} of {total}", page=page, total=total))
                draw(self, (0, 0), sheet.proof.printable(page_of), sheet.fonts.regular, _SMALL)
                self.endForm()
            super().save()

    return CountingCanvas


def _page_form(page: int) -> str:
    return f"page-{page}"


@cache
def _styles(fonts: Fonts) -> Styles:
    """Return the styles on a scale of 7.5, 9, 11, 14 and 24 points."""

    def style(name: str, size: float, *, bold: bool = False, ink: Color = INK, **more: Any) -> ParagraphStyle:
        more.setdefault("leading", size * 1.4)
        font = fonts.bold if bold else fonts.regular
        return ParagraphStyle(name, fontName=font, fontSize=size, textColor=ink, splitLongWords=1, **more)

    return Styles(
        kicker=style("kicker", 9, bold=True, ink=ACCENT, spaceAfter=2),
        title=style("title", 24, bold=True, leading=30),
        subtitle=style("subtitle", 14, ink=MUTED, leading=20, spaceAfter=12),
        section=style("section", 14, bold=True, spaceBefore=20, spaceAfter=7),
        subsection=style("subsection", 11, bold=True, ink=ACCENT, spaceBefore=12, spaceAfter=4),
        fact_name=style("fact_name", 7.5, ink=MUTED, leading=11),
        fact=style("fact", 9, leading=12),
        sentence=style("sentence", 9, leading=13, spaceAfter=6),
        note=style("note", 7.5, ink=MUTED, leading=11, spaceBefore=4),
        caution=style("caution", 9, ink=CAUTION, leading=13),
    )
