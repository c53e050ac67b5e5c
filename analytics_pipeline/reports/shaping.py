"""Texts of any script as glyphs: which font, in which order, at which place.

The document font is asked first, then the fonts of other scripts. The order of right-to-left text is that of Unicode's
algorithm in a line that runs from left to right; HarfBuzz joins and places the glyphs.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from analytics_pipeline.reports.fonts import BOLD, REGULAR, font_files
from analytics_pipeline.reports.script_fonts import ScriptFont, script_fonts

if TYPE_CHECKING:
    import uharfbuzz

JOINERS: Final = frozenset("\u200c\u200d")
"""They keep letters apart, or join them: Persian and Indic names are written with them."""

_WEIGHTS: Final = {REGULAR: 400, BOLD: 700}
_EM: Final = 1000
# Of ligatures the required ones alone, and no closer pairs: readers of PDFs take letters and words from the glyphs.
_RIGHT_TO_LEFT_FEATURES: Final = {"liga": False, "dlig": False, "kern": False}
_LEFT_TO_RIGHT: Final = "\u200e"
_number_apart = re.compile(r"(?<=[,:;\u00b7] )(?=[-+\u2212\u2013]?\d)")


@dataclass(frozen=True, slots=True)
class Glyph:
    """A glyph of a font: where it is drawn from the point reached, and how far that moves, in thousandths of the size.

    ``width`` is its own in the font.
    """

    index: int
    advance: float
    x: float
    y: float
    width: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """Glyphs from left to right that show a text which can't be taken apart, mostly one for one character."""

    text: str
    glyphs: Sequence[Glyph]


@dataclass(frozen=True, slots=True)
class ShapedFont:
    """A font at a weight, as glyphs are taken from it."""

    name: str
    face: "uharfbuzz.Face"
    weight: int


@dataclass(frozen=True, slots=True)
class Run:
    """Clusters of glyphs of one font, from left to right, and their text, which is written from there if reversed."""

    font: ShapedFont
    clusters: Sequence[Cluster]
    text: str
    is_reversed: bool

    @property
    def advance(self) -> float:
        """How far the run moves the point, in thousandths of the size."""
        return sum(glyph.advance for cluster in self.clusters for glyph in cluster.glyphs)


@lru_cache(maxsize=5_000)
def shaped(text: str, font: str) -> tuple[Run, ...]:
    """Return a text in the document font of that name, and in others for what it lacks, from left to right."""
    if not text:
        return ()
    fonts, levels = _fonts(text, font), _levels(text)
    parts = []
    for (used, level), found in groupby(range(len(text)), key=lambda index: (fonts[index], levels[index])):
        span = list(found)
        parts.append((level, _run(text[span[0] : span[-1] + 1], used, is_reversed=bool(level % 2))))
    return tuple(_in_visual_order(parts))


@lru_cache(maxsize=20_000)
def shaped_width(text: str, font: str, size: float) -> float:
    """Return the width of a text in points."""
    return sum(run.advance for run in shaped(text, font)) * size / _EM


def _fonts(text: str, name: str) -> list[ShapedFont]:
    """Return the font of each character."""
    base, weight = _document_font(name), _WEIGHTS[name]
    lacking = {character for character in text if ord(character) not in font_files().coverage} - JOINERS
    chosen: list[ShapedFont] = []
    for is_base, found in groupby(text, key=lambda character: character not in lacking and character not in JOINERS):
        part = list(found)
        if is_base:
            chosen += [base] * len(part)
            continue
        # A Chinese name is not mixed of Japanese and Chinese forms: one font for all of a text, else for a part of it.
        for of_all in (lacking, set(part) - JOINERS):
            if (font := _holding(of_all, weight)) is not None:
                chosen += [_at_weight(font, weight)] * len(part)
                break
        else:
            for character in part:
                font = _holding({character}, weight) if character not in JOINERS else None
                chosen.append(_at_weight(font, weight) if font else (chosen[-1] if chosen else base))
    return chosen


@lru_cache(maxsize=5_000)
def _holding_all(characters: frozenset[str], weight: int) -> ScriptFont | None:
    codes = {ord(character) for character in characters}
    holding = [font for font in script_fonts() if codes <= font.coverage]
    if not holding:
        return None
    family = [font for font in holding if font.family == holding[0].family]
    return min(family, key=lambda font: font.distance(weight))


def _holding(characters: Iterable[str], weight: int) -> ScriptFont | None:
    """Return the first font that holds all the characters, of its family the face whose weight is nearest."""
    return _holding_all(frozenset(characters), weight)


@cache
def _at_weight(font: ScriptFont, weight: int) -> ShapedFont:
    return ShapedFont(font.name, font.face, weight if font.weight is None else font.weight)


@cache
def _document_font(name: str) -> ShapedFont:
    import uharfbuzz

    face = uharfbuzz.Face(uharfbuzz.Blob(font_files().weights[name]))
    return ShapedFont(name, face, _WEIGHTS[name])


@cache
def _instance(font: ShapedFont) -> "uharfbuzz.Font":
    import uharfbuzz

    instance = uharfbuzz.Font(font.face)
    if font.face.axis_infos:
        instance.set_variations({"wght": font.weight})
    return instance


def _run(text: str, font: ShapedFont, *, is_reversed: bool) -> Run:
    import uharfbuzz

    buffer, instance = uharfbuzz.Buffer(), _instance(font)
    buffer.add_str(text)
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if is_reversed else "ltr"
    uharfbuzz.shape(instance, buffer, _RIGHT_TO_LEFT_FEATURES if is_reversed else None)
    scale = _EM / font.face.upem
    starts = sorted({info.cluster for info in buffer.glyph_infos})
    texts = {start: text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)}
    glyphs: dict[int, list[Glyph]] = {}
    for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        glyph = Glyph(
            index=info.codepoint,
            advance=position.x_advance * scale,
            x=position.x_offset * scale,
            y=position.y_offset * scale,
            width=instance.get_glyph_h_advance(info.codepoint) * scale,
        )
        glyphs.setdefault(info.cluster, []).append(glyph)
    clusters = tuple(Cluster(texts[start], tuple(found)) for start, found in glyphs.items())
    return Run(font, clusters, text, is_reversed)


def _levels(text: str) -> list[int]:
    """Return the embedding level of each character in a line from left to right: odd ones are written the other way."""
    if all(unicodedata.bidirectional(character) not in {"R", "AL", "AN"} for character in text):
        return [0] * len(text)
    # A number after a comma or a colon is none of the name before it: it stays on its right.
    marked = _number_apart.sub(_LEFT_TO_RIGHT, text)
    levels = iter(_resolved("".join(character for character in marked if character not in JOINERS)))
    found: list[int] = []
    for character in marked:
        level = (found[-1] if found else 0) if character in JOINERS else next(levels)
        if character != _LEFT_TO_RIGHT:
            found.append(level)
    return found


def _resolved(text: str) -> Iterator[int]:
    # The steps of the algorithm up to the levels; the whole of it returns characters in their order alone.
    from bidi import algorithm

    storage: dict[str, Any] = algorithm.get_empty_storage()
    storage["base_level"], storage["base_dir"] = 0, "L"
    algorithm.get_embedding_levels(text, storage)
    steps: tuple[Callable[[dict[str, Any], bool], None], ...] = (
        algorithm.explicit_embed_and_overrides,
        algorithm.resolve_weak_types,
        algorithm.resolve_neutral_types,
        algorithm.resolve_implicit_levels,
    )
    for step in steps:
        step(storage, False)  # noqa: FBT003 - as they are defined
    for character in storage["chars"]:
        yield int(character["level"])


def _in_visual_order(parts: list[tuple[int, Run]]) -> Iterator[Run]:
    """Yield runs from left to right: whatever is of a level or a higher one is reversed, from the highest down."""
    order = list(range(len(parts)))
    for level in range(max(level for level, _ in parts), 0, -1):
        reordered: list[int] = []
        for is_higher, found in groupby(order, key=lambda index: parts[index][0] >= level):
            span = list(found)
            reordered += reversed(span) if is_higher else span
        order = reordered
    return (parts[index][1] for index in order)
