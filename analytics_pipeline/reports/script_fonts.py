"""Fonts of the scripts that the document font lacks: Han, kana, Hangul, Arabic, Hebrew, Thai, Devanagari and others.

They are optional. Noto Sans and IBM Plex Sans Arabic (OFL) come with the packages of the extra ``scripts``; a folder
of TrueType fonts that ANALYTICS_FONTS names goes before. Nothing is read until a text needs it, and then the tables of
contents alone: a variable font for Japanese has ten megabytes.
"""

import logging
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analytics_pipeline.settings import get_settings

if TYPE_CHECKING:
    import uharfbuzz

_REMEDY: Final = (
    "install analytics_pipeline[scripts], or name a folder of TrueType fonts that hold them in ANALYTICS_FONTS"
)
_REMEDY_OF_FOLDER: Final = (
    "no font of analytics_pipeline[scripts], which is installed, holds them: name a folder of TrueType fonts that do "
    "in ANALYTICS_FONTS"
)
_PACKAGES: Final = (
    # Before Noto Sans Arabic, which draws the dots of letters apart: readers of PDFs then copy reversed words.
    "fontpkg_ibm_plex_sans_arabic",
    "justmytype_intl_rtl",
    "justmytype_intl_cjk",
    "justmytype_intl_sea",
    "justmytype_intl_south_asia",
)
# Searched where it is installed; no extra has it.
_MORE_PACKAGES: Final = ("justmytype_intl_africa",)
_SHAPING: Final = ("uharfbuzz", "bidi")
_SUFFIXES: Final = {".ttf", ".ttc", ".otf"}
_REGULAR: Final = 400
_ITALIC: Final = 1
_WEIGHT: Final = "wght"
_POSTSCRIPT_NAME: Final = 6
_FAMILY_NAME: Final = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class ScriptFont:
    """A face of a font file, with what it holds.

    ``weight`` is the only one it has, None: it has all of them.
    """

    name: str
    family: str
    face: "uharfbuzz.Face"
    coverage: frozenset[int]
    weight: int | None

    def distance(self, weight: int) -> int:
        """Return how far its weight is from the one that is wanted."""
        return 0 if self.weight is None else abs(self.weight - weight)


def script_fonts() -> tuple[ScriptFont, ...]:
    """Return the fonts there are, in the order in which they are preferred; none without what shapes text."""
    return _script_fonts(get_settings().fonts)


def script_coverage() -> frozenset[int]:
    """Return the code points that the fonts hold."""
    return _coverage(script_fonts())


def describe_altered(characters: Sequence[str]) -> str:
    """Return characters that a document couldn't show (``U+05D0``), with what helps if a font does; empty: none."""
    listed = ", ".join(characters)
    needs_font = any(unicodedata.category(chr(int(one.removeprefix("U+"), 16)))[0] != "C" for one in characters)
    if not needs_font:
        return listed
    return f"{listed}: {_REMEDY_OF_FOLDER if _has_extra() else _REMEDY}"


def _has_extra() -> bool:
    return all(map(find_spec, (*_SHAPING, *_PACKAGES)))


@cache
def _coverage(fonts: Sequence[ScriptFont]) -> frozenset[int]:
    return frozenset().union(*(font.coverage for font in fonts))


@cache
def _script_fonts(folder: Path | None) -> tuple[ScriptFont, ...]:
    if not all(map(find_spec, _SHAPING)):
        return ()
    return tuple(font for file in _files(folder) for font in _faces(file))


def _files(folder: Path | None) -> Iterator[Path]:
    folders = [folder] if folder is not None else []
    folders += [Path(str(files(package))) for package in (*_PACKAGES, *_MORE_PACKAGES) if find_spec(package)]
    for one in folders:
        yield from sorted(file for file in one.rglob("*") if file.suffix.lower() in _SUFFIXES)


def _faces(file: Path) -> Iterator[ScriptFont]:
    """Yield the upright faces of a file that have TrueType outlines: PDFs hold no others of ours."""
    import uharfbuzz

    blob = uharfbuzz.Blob.from_file_path(str(file))
    for index in range(uharfbuzz.Face(blob).count):
        face = uharfbuzz.Face(blob, index)
        if "glyf" not in face.table_tags:
            _log.warning("%s has no TrueType outlines, and is left out.", file)
            return
        style = _style(face)
        if style.is_italic:
            continue
        yield ScriptFont(
            name=face.get_name(_POSTSCRIPT_NAME) or file.stem,
            family=face.get_name(_FAMILY_NAME) or file.stem,
            face=face,
            coverage=frozenset(face.unicodes),
            weight=None if any(axis.tag == _WEIGHT for axis in face.axis_infos) else style.weight,
        )


@dataclass(frozen=True, slots=True)
class _Style:
    weight: int
    is_italic: bool


def _style(face: "uharfbuzz.Face") -> _Style:
    """Read the table that says so, ``OS/2``: the weight is its third number, the style its 32nd."""
    table = face.reference_table("OS/2").data
    if len(table) < 64:  # noqa: PLR2004 - as long as its oldest version is at the least
        return _Style(_REGULAR, is_italic=False)
    return _Style(
        weight=int.from_bytes(table[4:6], "big"),
        is_italic=bool(int.from_bytes(table[62:64], "big") & _ITALIC),
    )
