"""Fonts of a PDF that hold the glyphs of a document alone, whatever characters these are made of.

reportlab embeds by character, where a shaped text has glyphs that no character has. So these are composite fonts
(``Type0``) with a number of their own for each glyph and what it stands for: by that a reader finds and copies text.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any
from weakref import WeakKeyDictionary

from reportlab.pdfbase.pdfdoc import PDFArray, PDFDictionary, PDFDocument, PDFName, PDFStream, PDFString, PDFZCompress
from reportlab.pdfbase.ttfonts import SUBSETN

from analytics_pipeline.reports.shaping import Cluster, Glyph, Run, ShapedFont

_SYMBOLIC = 4
_EM = 1000
_ENTRIES = 100
_LAYOUT = (b"GSUB", b"GPOS", b"GDEF")
_of_document: "WeakKeyDictionary[PDFDocument, dict[ShapedFont, GlyphFont]]" = WeakKeyDictionary()


def runs_shown(document: PDFDocument, runs: Iterable[Run], size: float) -> str:
    """Return the operators that show glyphs from the point reached."""
    operators: list[str] = []
    for run in runs:
        font = _font_in(document, run.font)
        operators.append(f"{font.internal_name} {_number(size)} Tf")
        operators += _shown(font, run, size)
    return " ".join(operators)


def _shown(font: "GlyphFont", run: Run, size: float) -> Iterator[str]:
    """Yield operators that show a run.

    Where several glyphs have one text they say which it is, from right to left all of the run does: some readers take a
    text from each glyph.
    """
    parts: Iterable[tuple[str, Iterable[Cluster]]]
    if run.is_reversed:
        parts = [("" if all(len(cluster.glyphs) == 1 for cluster in run.clusters) else run.text, run.clusters)]
    else:
        parts = groupby(run.clusters, key=lambda cluster: "" if len(cluster.glyphs) == 1 else cluster.text)
    for text, clusters in parts:
        glyphs = [
            (glyph, "" if index else cluster.text) for cluster in clusters for index, glyph in enumerate(cluster.glyphs)
        ]
        if text:
            yield f"/Span <</ActualText <FEFF{_in_hex(text)}>>> BDC"
        yield from _placed(font, glyphs, size)
        if text:
            yield "EMC"


def _placed(font: "GlyphFont", glyphs: Sequence[tuple[Glyph, str]], size: float) -> Iterator[str]:
    for height, found in groupby(glyphs, key=lambda pair: pair[0].y):
        if height:
            yield f"{_number(height * size / _EM)} Ts"
        parts: list[str] = []
        for glyph, text in found:
            # Numbers between glyphs move to the left.
            moved = (-glyph.x, f"<{font.number(glyph, text):04X}>", glyph.x + glyph.width - glyph.advance)
            parts += [part if isinstance(part, str) else _number(part) for part in moved if part]
        yield f"[{' '.join(parts)}] TJ"
        if height:
            yield "0 Ts"


def _font_in(document: PDFDocument, font: ShapedFont) -> "GlyphFont":
    fonts = _of_document.setdefault(document, {})
    if font not in fonts:
        fonts[font] = GlyphFont(font, len(fonts))
        document.delayedFonts.append(fonts[font])
    return fonts[font]


class GlyphFont:
    """A font of one document; it is embedded when that is written."""

    def __init__(self, font: ShapedFont, place: int) -> None:
        """Accept the font, and how many others the document has had so far."""
        self._font = font
        self._place = place
        self._numbers: dict[tuple[int, str], int] = {}
        self._widths: list[float] = []

    @property
    def internal_name(self) -> str:
        """The name in the resources of pages."""
        return f"/G{self._place + 1}"

    def number(self, glyph: Glyph, text: str) -> int:
        """Return the number of a glyph that stands for a text."""
        key = (glyph.index, text)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers) + 1
            self._widths.append(glyph.width)
        return self._numbers[key]

    def addObjects(self, document: PDFDocument) -> None:  # noqa: N802 - reportlab's hook
        """Embed the glyphs that were used."""
        import uharfbuzz

        face, weight = self._font.face, self._font.weight
        wanted = uharfbuzz.SubsetInput()
        wanted.glyph_set.update({index for index, _ in self._numbers})
        wanted.drop_table_tag_set.update({int.from_bytes(tag, "big") for tag in _LAYOUT})
        wanted.flags = uharfbuzz.SubsetFlags.NO_HINTING | uharfbuzz.SubsetFlags.NO_LAYOUT_CLOSURE
        if face.axis_infos:
            wanted.pin_all_axes_to_default(face)
            wanted.pin_axis_location(face, "wght", weight)
        plan = uharfbuzz.SubsetPlan(face, wanted)
        subset = plan.execute()
        self._embed(document, subset, dict(plan.old_to_new_glyph_mapping))

    def _embed(self, document: PDFDocument, subset: Any, new: dict[int, int]) -> None:
        tag = SUBSETN(self._place).decode()
        name = f"{tag}+{self._font.name}-{self._font.weight}".replace(" ", "")
        extents = _extents(self._font)

        # reportlab's classes have no types for what a font needs.
        objects: Any = document

        def refer(kind: str, value: Any) -> Any:
            return objects.Reference(value, f"{kind}:{name}")

        program = _stream(bytes(subset.blob.data))
        program.dictionary["Length1"] = len(subset.blob.data)
        descriptor = PDFDictionary(
            {
                "Type": PDFName("FontDescriptor"),
                "FontName": PDFName(name),
                "Flags": _SYMBOLIC,
                "FontBBox": PDFArray([0, extents[1], _EM, extents[0]]),
                "ItalicAngle": 0,
                "Ascent": extents[0],
                "Descent": extents[1],
                "CapHeight": extents[0],
                "StemV": 80,
                "FontFile2": refer("glyphs", program),
            }
        )
        numbered = b"\0\0" + b"".join(new[index].to_bytes(2, "big") for index, _ in self._numbers)
        descendant = PDFDictionary(
            {
                "Type": PDFName("Font"),
                "Subtype": PDFName("CIDFontType2"),
                "BaseFont": PDFName(name),
                "CIDSystemInfo": PDFDictionary(
                    {"Registry": PDFString("Adobe"), "Ordering": PDFString("Identity"), "Supplement": 0}
                ),
                "FontDescriptor": refer("descriptor", descriptor),
                "DW": _EM,
                "W": PDFArray([1, PDFArray([round(width, 2) for width in self._widths])]),
                "CIDToGIDMap": refer("numbers", _stream(numbered)),
            }
        )
        font = PDFDictionary(
            {
                "Type": PDFName("Font"),
                "Subtype": PDFName("Type0"),
                "BaseFont": PDFName(name),
                "Encoding": PDFName("Identity-H"),
                "DescendantFonts": PDFArray([refer("descendant", descendant)]),
                "ToUnicode": refer("texts", _stream(self._texts())),
            }
        )
        objects.idToObject["BasicFonts"].dict[self.internal_name[1:]] = refer("font", font)

    def _texts(self) -> bytes:
        """Return the table of what each glyph stands for."""
        entries = [f"<{number:04X}> <{_in_hex(text)}>" for (_, text), number in self._numbers.items()]
        blocks = [entries[start : start + _ENTRIES] for start in range(0, len(entries), _ENTRIES)]
        lines = [
            "/CIDInit /ProcSet findresource begin",
            "12 dict begin",
            "begincmap",
            "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
            "/CMapName /Adobe-Identity-UCS def",
            "/CMapType 2 def",
            "1 begincodespacerange",
            "<0000> <FFFF>",
            "endcodespacerange",
            *(line for block in blocks for line in (f"{len(block)} beginbfchar", *block, "endbfchar")),
            "endcmap",
            "CMapName currentdict /CMap defineresource pop",
            "end",
            "end",
        ]
        return "\n".join(lines).encode("ascii")


def _extents(font: ShapedFont) -> tuple[int, int]:
    """Return how far glyphs reach above and below the line, in thousandths."""
    import uharfbuzz

    found = uharfbuzz.Font(font.face).get_font_extents("ltr")
    return round(found.ascender * _EM / font.face.upem), round(found.descender * _EM / font.face.upem)


def _stream(content: bytes) -> PDFStream:
    stream = PDFStream(content=content)
    stream.filters = [PDFZCompress]
    return stream


def _in_hex(text: str) -> str:
    return text.encode("utf-16-be").hex().upper()


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") or "0"
