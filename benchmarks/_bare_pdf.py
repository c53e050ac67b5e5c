"""A finished report taken apart into plain calls of reportlab: ready strings at known places, on the same pages.

What is drawn from them shows the same texts, rules, bars, colours, bookmarks and fonts as the report, and costs what
reportlab's canvas alone costs.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from typing import Any

from pypdf import PageObject, PdfReader
from pypdf.generic import ContentStream
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.pdfgen.pathobject import PDFPathObject

from analytics_pipeline.reports.fonts import BOLD, REGULAR, font_files

# A method of the canvas and what it is given.
Call = tuple[str, tuple[Any, ...]]
_NAMES = {REGULAR: "Bare", BOLD: "Bare-Bold"}
_MAPPED = re.compile(rb"<([0-9A-F]+)> <([0-9A-F]+)>")


@dataclass(frozen=True, slots=True)
class BareDocument:
    """A document as calls by page; ``bookmarks`` are title, level and page (from 0) of each."""

    size: tuple[float, float]
    pages: Sequence[Sequence[Call]]
    bookmarks: Sequence[tuple[str, int, int]]
    title: str

    def draw(self) -> bytes:
        """Return it as a PDF, drawn by nothing but the calls."""
        _register_fonts()
        target = BytesIO()
        canvas = Canvas(target, pagesize=self.size, invariant=1, initialFontName=_NAMES[REGULAR])
        canvas.setTitle(self.title)
        for number, calls in enumerate(self.pages):
            for name, arguments in calls:
                getattr(canvas, name)(*arguments)
            for title, level, page in self.bookmarks:
                if page == number:
                    canvas.bookmarkPage(title)
                    canvas.addOutlineEntry(title, title, level)
            canvas.showPage()
        canvas.save()
        return target.getvalue()


@cache
def _register_fonts() -> None:
    """Hand the files of the document fonts to reportlab, which embeds them in its own way."""
    for name, content in font_files().weights.items():
        registerFont(TTFont(_NAMES[name], BytesIO(content)))


def taken_apart(pdf: bytes) -> BareDocument:
    """Return the calls that draw a report's PDF; raises ``ValueError`` for an operator that reports are not made of."""
    reader = PdfReader(BytesIO(pdf))
    box = reader.pages[0].mediabox
    return BareDocument(
        (float(box.width), float(box.height)),
        [list(_joined(_Page(page).calls())) for page in reader.pages],
        list(_bookmarks(reader, reader.outline, 0)),
        str(reader.metadata.title if reader.metadata else ""),
    )


def _bookmarks(reader: PdfReader, outline: Iterable[Any], level: int) -> Iterator[tuple[str, int, int]]:
    for entry in outline:
        if isinstance(entry, list):
            yield from _bookmarks(reader, entry, level + 1)
        else:
            yield entry.title, level, reader.get_destination_page_number(entry) or 0


def _joined(calls: Iterable[Call]) -> Iterator[Call]:
    """Leave out the calls that set what is set already."""
    last: dict[str, tuple[Any, ...]] = {}
    for name, arguments in calls:
        if name.startswith("set"):
            if last.get(name) == arguments:
                continue
            last[name] = arguments
        yield name, arguments


@dataclass(frozen=True, slots=True)
class _Graphics:
    """The state that ``q`` keeps and ``Q`` brings back: the origin, colours and lines."""

    x: float = 0.0
    y: float = 0.0
    fill: tuple[float, ...] = (0.0, 0.0, 0.0)
    stroke: tuple[float, ...] = (0.0, 0.0, 0.0)
    line: float = 1.0
    dash: tuple[float, ...] = ()

    def after(self, operator: bytes, operands: Sequence[Any]) -> "_Graphics":
        match operator:
            case b"cm":
                return replace(self, x=self.x + float(operands[4]), y=self.y + float(operands[5]))
            case b"rg":
                return replace(self, fill=tuple(map(float, operands)))
            case b"RG":
                return replace(self, stroke=tuple(map(float, operands)))
            case b"w":
                return replace(self, line=float(operands[0]))
            case b"d":
                return replace(self, dash=tuple(map(float, operands[0])))
            case b"n" | b"BT" | b"ET":
                return self
        raise ValueError(f"A report has an operator that plain calls are not known for: {operator!r}.")


class _Page:
    """Reads the operators of a page, and of the forms on it."""

    def __init__(self, page: PageObject) -> None:
        self._page: Any = page
        self._fonts = {
            name: (_NAMES[BOLD if "Bold" in font["/BaseFont"] else REGULAR], _texts(font["/ToUnicode"].get_data()))
            for name, font in self._page["/Resources"]["/Font"].items()
            if "/ToUnicode" in font
        }
        self._state = _Graphics()
        self._kept: list[_Graphics] = []
        self._path: list[tuple[str, tuple[float, ...]]] = []
        self._at = (0.0, 0.0)
        self._font: tuple[str, float] = ("", 0.0)
        self._leading = self._spacing = 0.0

    def calls(self) -> Iterator[Call]:
        return self._read(self._page.get_contents())

    def _read(self, content: Any) -> Iterator[Call]:
        for operands, operator in content.operations:
            match operator:
                case b"q":
                    self._kept.append(self._state)
                case b"Q":
                    self._state = self._kept.pop()
                case b"Do":
                    form = self._page["/Resources"]["/XObject"][operands[0]].get_object()
                    self._kept.append(self._state)
                    yield from self._read(ContentStream(form, None))
                    self._state = self._kept.pop()
                case b"Tm" | b"Tf" | b"TL" | b"Tw" | b"T*" | b"Tj":
                    yield from self._shown(operator, operands)
                case b"m" | b"l" | b"re" | b"h":
                    self._path.append((operator.decode(), tuple(map(float, operands))))
                case b"S" | b"f*" | b"B*":
                    yield from self._drawn(is_stroked=operator != b"f*", is_filled=operator != b"S")
                case _:
                    self._state = self._state.after(operator, operands)

    def _shown(self, operator: bytes, operands: Sequence[Any]) -> Iterator[Call]:
        match operator:
            case b"Tm":
                self._at = (float(operands[4]), float(operands[5]))
            case b"Tf":
                self._font = (str(operands[0]), float(operands[1]))
            case b"TL":
                self._leading = float(operands[0])
            case b"Tw":
                self._spacing = float(operands[0])
            case b"T*":
                self._at = (self._at[0], self._at[1] - self._leading)
            case _:
                name, texts = self._fonts[self._font[0]]
                words = "".join(texts[code] for code in operands[0].original_bytes)
                place = (self._state.x + self._at[0], self._state.y + self._at[1])
                yield "setFillColorRGB", self._state.fill
                yield "setFont", (name, self._font[1])
                yield "drawString", (*place, words, *((None, 0, None, self._spacing) if self._spacing else ()))

    def _drawn(self, *, is_stroked: bool, is_filled: bool) -> Iterator[Call]:
        yield "setFillColorRGB", self._state.fill
        yield "setStrokeColorRGB", self._state.stroke
        yield "setLineWidth", (self._state.line,)
        yield "setDash", (list(self._state.dash),)
        kinds = [kind for kind, _ in self._path]
        places = [(self._state.x + place[0], self._state.y + place[1]) for _, place in self._path if place]
        if kinds == ["re"]:
            _, place = self._path[0]
            yield "rect", (*places[0], *place[2:], int(is_stroked), int(is_filled))
        elif is_stroked and kinds == ["m", "l"] * (len(kinds) // 2):
            yield "lines", ([(*start, *end) for start, end in zip(places[::2], places[1::2], strict=True)],)
        else:
            outline = PDFPathObject()
            outline.moveTo(*places[0])
            for place in places[1:]:
                outline.lineTo(*place)
            outline.close()
            yield "drawPath", (outline, int(is_stroked), int(is_filled))
        self._path = []


def _texts(cmap: bytes) -> dict[int, str]:
    """Return what each code of a font stands for."""
    return {int(code, 16): chr(int(text, 16)) for code, text in _MAPPED.findall(cmap.partition(b"beginbfchar")[2])}
