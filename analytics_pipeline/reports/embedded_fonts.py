"""Fonts of documents that are embedded without subsetting them anew: most documents show the same characters.

Subsetting both weights, compressing them and writing their tables of widths took a tenth of a report's time, where the
bytes are those of the document before.
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from reportlab.pdfbase.pdfdoc import PDFArray, PDFDictionary, PDFDocument, PDFName, PDFStream, PDFTrueTypeFont
from reportlab.pdfbase.ttfonts import FF_NONSYMBOLIC, FF_SYMBOLIC, SUBSETN, TTFont, makeToUnicodeCMap

# So many subsets, of 20 kB each, are kept for each weight.
_MAX_KEPT = 100


@dataclass(frozen=True, slots=True)
class _Subset:
    """What a document holds of a subset of a font; ``program`` and ``texts`` are compressed, ``length`` is before."""

    name: str
    program: bytes
    length: int
    texts: bytes
    widths: bytes


class EmbeddedFont(TTFont):
    """A TrueType font that reportlab embeds as it does any, from subsets that were made before."""

    def __init__(self, name: str, file: Any) -> None:
        """Accept the name that reportlab knows it by, and the file."""
        super().__init__(name, file)
        self._subset = lru_cache(_MAX_KEPT)(self._made)

    def addObjects(self, doc: PDFDocument) -> None:  # noqa: N802 - reportlab's hook
        """Embed what a document shows; its streams are compressed."""
        # reportlab's classes have no types for what a font needs.
        objects: Any = doc
        own: Any = self
        state = own._assignState(doc)
        for number, codes in enumerate(state.subsets):
            subset = self._subset(number, tuple(codes))
            font: Any = PDFTrueTypeFont()
            font.Name = self.getSubsetInternalName(number, doc)[1:]
            font.BaseFont = subset.name
            font.FirstChar, font.LastChar = 0, len(codes) - 1
            font.Widths = subset.widths
            font.ToUnicode = objects.Reference(_compressed(subset.texts), f"toUnicodeCMap:{subset.name}")
            font.FontDescriptor = self._descriptor(objects, subset)
            objects.Reference(font, font.Name)
            objects.idToObject["BasicFonts"].dict[font.Name] = font
        del self.state[doc]

    def _descriptor(self, objects: Any, subset: _Subset) -> Any:
        face: Any = self.face
        program = _compressed(subset.program)
        program.dictionary["Length1"] = subset.length
        descriptor = PDFDictionary(
            {
                "Type": "/FontDescriptor",
                "Ascent": face.ascent,
                "CapHeight": face.capHeight,
                "Descent": face.descent,
                "Flags": face.flags & ~FF_NONSYMBOLIC | FF_SYMBOLIC,
                "FontBBox": PDFArray(face.bbox),
                "FontName": PDFName(subset.name),
                "ItalicAngle": face.italicAngle,
                "StemV": face.stemV,
                "FontFile2": objects.Reference(program, f"fontFile:{face.filename}({subset.name})"),
                "MissingWidth": face.defaultWidth,
            }
        )
        return objects.Reference(descriptor, f"fontDescriptor:{subset.name}")

    def _made(self, number: int, codes: tuple[int, ...]) -> _Subset:
        face: Any = self.face
        name = (SUBSETN(number) + b"+" + face.name + face.subfontNameX).decode("pdfdoc")
        program = face.makeSubset(list(codes))
        widths = PDFArray([face.getCharWidth(code) for code in codes])
        return _Subset(
            name=name,
            program=zlib.compress(program),
            length=len(program),
            texts=zlib.compress(makeToUnicodeCMap(name, codes).encode()),
            widths=widths.format(None),
        )


def _compressed(content: bytes) -> PDFStream:
    """Return a stream of what is compressed already."""
    return PDFStream(PDFDictionary({"Filter": PDFArray([PDFName("FlateDecode")])}), content)
