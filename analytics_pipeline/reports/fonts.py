"""The document font: static, embeddable cuts of Noto Sans, made once per process.

Noto Sans (OFL) holds the euro and bitcoin signs, Greek and Cyrillic. It ships as one variable font, of which
reportlab would embed the default weight only, so regular and bold are cut from it with fontTools. Other scripts have
fonts of their own (``script_fonts``). Nothing happens at import; cutting both weights takes a second or two, so a
process that starts others to render hands them what it has cut.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO

from reportlab.pdfbase import pdfmetrics

from analytics_pipeline.reports.embedded_fonts import EmbeddedFont

REGULAR = "NotoSans"
BOLD = "NotoSans-Bold"

_WEIGHTS = {REGULAR: 400, BOLD: 700}

_RANGES = (
    (0x0020, 0x007E),  # Basic Latin
    (0x00A0, 0x052F),  # Latin, IPA, combining marks, Greek, Cyrillic
    (0x1D00, 0x1FFF),  # phonetic extensions, further Latin (Vietnamese), polytonic Greek
    (0x2000, 0x206F),  # punctuation
    (0x2070, 0x20CF),  # super- and subscripts, currency signs
    (0x2100, 0x218F),  # letter-like signs, number forms
    (0x2212, 0x2212),  # minus
    (0xFB00, 0xFB06),  # Latin ligatures
    (0xFFFD, 0xFFFD),  # the mark of a missing character
)


@dataclass(frozen=True, slots=True)
class Fonts:
    """The registered weights by reportlab name, and the code points that both hold."""

    regular: str
    bold: str
    coverage: frozenset[int]


_lock = threading.Lock()
_fonts: Fonts | None = None
_adopted: "FontFiles | None" = None


@dataclass(frozen=True, slots=True)
class FontFiles:
    """The code points kept, and a static TrueType file for each weight, by reportlab name."""

    coverage: frozenset[int]
    weights: Mapping[str, bytes]


def document_fonts() -> Fonts:
    """Return the fonts of every document, cut and registered with reportlab on the first call."""
    with _lock:
        return _fonts or _register(_files())


def font_files() -> FontFiles:
    """Return the files of the fonts, which ``adopt_fonts`` takes in another process."""
    with _lock:
        return _adopted or _files()


def adopt_fonts(cut: FontFiles) -> None:
    """Take fonts that another process has cut."""
    global _adopted  # noqa: PLW0603 - as the fonts are
    with _lock:
        _adopted = cut
        _register(cut)


def _register(cut: FontFiles) -> Fonts:
    """Hand the weights to reportlab; the caller holds the lock."""
    global _fonts  # noqa: PLW0603 - reportlab's own registry is one per process, too
    for name, data in cut.weights.items():
        pdfmetrics.registerFont(EmbeddedFont(name, BytesIO(data)))
    _fonts = Fonts(regular=REGULAR, bold=BOLD, coverage=cut.coverage)
    return _fonts


@cache
def _files() -> FontFiles:
    return _cut(code for first, last in _RANGES for code in range(first, last + 1))


def _cut(codes: Iterable[int]) -> FontFiles:
    from fontTools import subset, ttLib  # type: ignore[import-untyped]
    from fontTools.varLib import instancer  # type: ignore[import-untyped]

    source = files("fontpkg_noto_sans") / "files" / "NotoSans[wdth,wght].ttf"
    # The file's own time stamp is kept: it is copied into every PDF, whose bytes must not depend on today.
    with ttLib.TTFont(BytesIO(source.read_bytes()), lazy=True, recalcTimestamp=False) as font:
        subsetter = subset.Subsetter(
            subset.Options(layout_features=[], hinting=False, notdef_outline=True, name_IDs=["*"])
        )
        subsetter.populate(unicodes=list(codes))
        subsetter.subset(font)
        coverage = frozenset(font.getBestCmap() or ())
        reduced = BytesIO()
        font.save(reduced)

    weights: dict[str, bytes] = {}
    for name, weight in _WEIGHTS.items():
        with ttLib.TTFont(BytesIO(reduced.getvalue()), recalcTimestamp=False) as variable:
            static = instancer.instantiateVariableFont(
                variable, {"wght": weight, "wdth": 100}, inplace=True, updateFontNames=True
            )
            cut = BytesIO()
            static.save(cut)
        weights[name] = cut.getvalue()
    return FontFiles(coverage, weights)
