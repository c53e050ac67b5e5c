"""Charts: a figure over time as bars, small enough to stand side by side, and a bridge from one figure to another."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

from reportlab.lib.colors import white
from reportlab.platypus import Flowable

from analytics_pipeline.currencies import EXACT, PRECISION
from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.layout import (
    ACCENT,
    ACCENT_SOFT,
    HAIRLINE,
    INK,
    MUTED,
    NEGATIVE,
    NEGATIVE_SOFT,
    Sheet,
)
from analytics_pipeline.reports.printed_text import Printable, draw, fit, shrink, width

_TICKS = 4
_SMALL = 7.0
_TITLE = 9.0
_TOP = 24.0
_BASE = 24.0
_UNITS = (
    (10**12, message("in trillions")),
    (10**9, message("in billions")),
    (10**6, message("in millions")),
    (10**3, message("in thousands")),
)
_UNIT_FROM = 10
# Movements below this share of the highest level are shown on an axis that leaves out what is far below them.
_SMALL_MOVEMENT = Decimal("0.4")
# Space on either side of a bar, as a share of its slot.
_GAP = 0.18


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its exact value, a label, and a second label where a new group (a year) starts."""

    value: Decimal
    label: Printable
    group: Printable | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a bridge: a balance that stands on the axis, or what is added to the step before."""

    value: Decimal
    label: Printable
    shown: Printable
    is_balance: bool


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from ``ticks[0]`` to ``ticks[-1]``, labelled in units of ``unit``."""

    ticks: tuple[Decimal, ...]
    unit: int
    unit_name: str
    decimals: int


def scale_of(values: Sequence[Decimal]) -> Scale:
    """Return an axis of about four round steps that holds zero and every value.

    From ten thousand on it counts in thousands, from ten million in millions, and so on.
    """
    return _scale(min(*values, Decimal(0), Decimal(0)), max(*values, Decimal(0), Decimal(0)))


def bridge_scale(levels: Sequence[Decimal]) -> Scale:
    """Return an axis that holds every level, and zero unless what happens between them would be too small to see."""
    low, high = min(levels), max(levels)
    with localcontext(prec=PRECISION):
        if low > 0 and high > low and (high - low) / high < _SMALL_MOVEMENT:
            return _scale(low - (high - low) / 2, high)
    return scale_of(levels)


def _scale(low: Decimal, high: Decimal) -> Scale:
    with localcontext(prec=PRECISION):
        if low == high:
            return Scale((Decimal(0),), 1, "", 0)
        step = _round_step((high - low) / _TICKS)
        first = (low / step).to_integral_value(ROUND_FLOOR)
        last = (high / step).to_integral_value(ROUND_CEILING)
        ticks = tuple(step * index for index in range(int(first), int(last) + 1))
        largest = max(high, -low)
        unit, name = next((pair for pair in _UNITS if largest >= _UNIT_FROM * pair[0]), (1, ""))
        exponent = (step / unit).normalize().as_tuple().exponent
        return Scale(ticks, unit, name, max(0, -int(exponent)))


def _round_step(least: Decimal) -> Decimal:
    """Return the smallest of 1, 2, 2.5, 5 and 10 times a power of ten that is not below ``least``."""
    magnitude = Decimal(1).scaleb(least.adjusted())
    factors = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))
    return next(magnitude * factor for factor in factors if magnitude * factor >= least)


class _Chart(Flowable):
    """A frame with a title, a scale and its grid."""

    def __init__(
        self,
        sheet: Sheet,
        title: Printable,
        scale: Scale,
        size: tuple[float, float],
        least_height: float | None = None,
    ) -> None:
        super().__init__()
        self._full_height = size[1]
        self._least_height = size[1] if least_height is None else least_height
        self._sheet = sheet
        self._title = title
        self._scale = scale
        self._size = size

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002, N803 - reportlab's signature
        """Take the size given, or less of its height where it may be lower and the page has no more left."""
        self._size = (self._size[0], max(self._least_height, min(self._full_height, aH)))
        return self._size

    def _draw_frame(self) -> float:
        """Draw title and grid, and return where the plot begins on the left."""
        labels = [self._tick_label(tick) for tick in self._scale.ticks]
        left = max(width(label, self._sheet.fonts.regular, _SMALL) for label in labels) + 6
        self._draw_title()
        self._draw_grid(left, labels)
        return left

    def _tick_label(self, tick: Decimal) -> Printable:
        value = EXACT.divide(tick, self._scale.unit)
        return self._sheet.proof.printable(self._sheet.formats.number(value, self._scale.decimals))

    def _height_of(self, value: Decimal) -> float:
        ticks = self._scale.ticks
        share = 0.0
        if len(ticks) > 1:
            share = float(EXACT.divide(EXACT.subtract(value, ticks[0]), EXACT.subtract(ticks[-1], ticks[0])))
        return _BASE + share * (self._size[1] - _TOP - _BASE)

    def _draw_title(self) -> None:
        canvas, fonts, top = self.canv, self._sheet.fonts, self._size[1] - _TITLE
        title = fit(self._title, fonts.bold, _TITLE, self._size[0] * 0.7)
        canvas.setFillColor(INK)
        draw(canvas, (0, top), title, fonts.bold, _TITLE)
        say = self._sheet.formats.say
        notes = [say(self._scale.unit_name)] if self._scale.unit_name else []
        if self._scale.ticks[0] > 0:
            notes.append(say(message("axis from {value}", value=self._tick_label(self._scale.ticks[0]))))
        if notes:
            canvas.setFillColor(MUTED)
            beside = (width(title, fonts.bold, _TITLE) + 6, top)
            draw(canvas, beside, self._sheet.proof.printable(", ".join(notes)), fonts.regular, _SMALL + 0.5)

    def _draw_grid(self, left: float, labels: Sequence[Printable]) -> None:
        canvas, regular = self.canv, self._sheet.fonts.regular
        canvas.setFillColor(MUTED)
        for tick, label in zip(self._scale.ticks, labels, strict=True):
            y = self._height_of(tick)
            canvas.setStrokeColor(MUTED if tick == 0 else HAIRLINE)
            canvas.setLineWidth(0.7 if tick == 0 else 0.4)
            canvas.line(left, y, self._size[0], y)
            draw(canvas, (left - 5, y - _SMALL * 0.35), label, regular, _SMALL, align="right")


class BarChart(_Chart):
    """Bars over time; the last one, which the report is about, stands out.

    ``open_ended`` draws the last bar as an outline: its period isn't complete. A chart with a ``least_height`` shrinks
    to it where the page has no more left.
    """

    def __init__(
        self,
        sheet: Sheet,
        title: Printable,
        bars: Sequence[Bar],
        size: tuple[float, float],
        *,
        open_ended: bool = False,
        least_height: float | None = None,
    ) -> None:
        """Accept at least one bar, and the width and height to fill."""
        super().__init__(sheet, title, scale_of([bar.value for bar in bars]), size, least_height)
        self._bars = bars
        self._open_ended = open_ended

    def draw(self) -> None:
        """Draw title, grid, bars and labels."""
        left = self._draw_frame()
        self._draw_bars(left)
        if not any(bar.value for bar in self._bars):
            self._draw_emptiness(left)

    def _draw_emptiness(self, left: float) -> None:
        self.canv.setFillColor(MUTED)
        nothing = self._sheet.proof.printable(self._sheet.formats.say(message("Nothing recorded in these months")))
        middle = ((left + self._size[0]) / 2, (self._size[1] - _TOP + _BASE) / 2)
        draw(self.canv, middle, nothing, self._sheet.fonts.regular, _SMALL + 0.5, align="centre")

    def _draw_bars(self, left: float) -> None:
        canvas, regular = self.canv, self._sheet.fonts.regular
        slot = (self._size[0] - left) / len(self._bars)
        zero = self._height_of(Decimal(0))
        widest = max(width(bar.label, regular, _SMALL) for bar in self._bars)
        every = int(widest // (slot - 1)) + 1
        for index, bar in enumerate(self._bars):
            last = index == len(self._bars) - 1
            x, reach = left + index * slot, self._height_of(bar.value) - zero
            strong, soft = (ACCENT, ACCENT_SOFT) if bar.value >= 0 else (NEGATIVE, NEGATIVE_SOFT)
            outlined = last and self._open_ended
            canvas.setFillColor(white if outlined else strong if last else soft)
            canvas.setStrokeColor(strong)
            canvas.setLineWidth(0.9)
            if outlined:
                canvas.setDash(2, 1.5)
            if bar.value:
                canvas.rect(x + slot * _GAP, zero, slot * (1 - 2 * _GAP), reach, stroke=int(outlined), fill=1)
            canvas.setDash()
            middle = x + slot / 2
            canvas.setFillColor(INK if last else MUTED)
            if (len(self._bars) - 1 - index) % every == 0:
                font = self._sheet.fonts.bold if last else regular
                draw(canvas, (middle, _BASE - 11), bar.label, font, _SMALL, align="centre")
            if bar.group is not None:
                canvas.setFillColor(MUTED)
                draw(canvas, (middle, _BASE - 20), bar.group, regular, _SMALL, align="centre")


class BridgeChart(_Chart):
    """How one balance becomes another: each step starts where the one before has ended."""

    def __init__(self, sheet: Sheet, title: Printable, steps: Sequence[Step], size: tuple[float, float]) -> None:
        """Accept at least one step, the first of them a balance, and the width and height to fill."""
        self._steps = steps
        self._spans = _spans(steps)
        super().__init__(sheet, title, bridge_scale([end for _, end in self._spans]), size)

    def draw(self) -> None:
        """Draw title, grid, steps and labels."""
        left = self._draw_frame()
        slot = (self._size[0] - left) / len(self._steps)
        for index, (step, span) in enumerate(zip(self._steps, self._spans, strict=True)):
            x = left + index * slot
            self._draw_step(step, span, x, slot)
            if index:
                self._draw_link(self._spans[index - 1][1], x, slot)

    def _draw_step(self, step: Step, span: tuple[Decimal, Decimal], x: float, slot: float) -> None:
        canvas, regular = self.canv, self._sheet.fonts.regular
        foot = max(span[0], self._scale.ticks[0])
        low, high = sorted((self._height_of(foot), self._height_of(span[1])))
        strong, soft = (ACCENT, ACCENT_SOFT) if step.value >= 0 else (NEGATIVE, NEGATIVE_SOFT)
        canvas.setFillColor(strong if step.is_balance else soft)
        if high > low:
            canvas.rect(x + slot * _GAP, low, slot * (1 - 2 * _GAP), high - low, stroke=0, fill=1)
        middle = x + slot / 2
        font = self._sheet.fonts.bold if step.is_balance else regular
        size = shrink(step.shown, font, _SMALL, slot - 2)
        wide = width(step.shown, font, size)
        # No line of the grid goes through a number.
        canvas.setFillColor(white)
        canvas.rect(middle - wide / 2 - 1, high + 1.5, wide + 2, size, stroke=0, fill=1)
        canvas.setFillColor(INK)
        draw(canvas, (middle, high + 3), step.shown, font, size, align="centre")
        canvas.setFillColor(INK if step.is_balance else MUTED)
        size = shrink(step.label, font, _SMALL, slot - 2)
        draw(canvas, (middle, _BASE - 11), step.label, font, size, align="centre")

    def _draw_link(self, level: Decimal, x: float, slot: float) -> None:
        """Draw a hairline from the end of the step before to this one."""
        y = self._height_of(level)
        self.canv.setStrokeColor(MUTED)
        self.canv.setLineWidth(0.4)
        self.canv.line(x - slot * _GAP, y, x + slot * _GAP, y)


def _spans(steps: Sequence[Step]) -> list[tuple[Decimal, Decimal]]:
    """Return where each step begins and ends; a balance begins at zero."""
    spans: list[tuple[Decimal, Decimal]] = []
    level = Decimal(0)
    with localcontext(prec=PRECISION):
        for step in steps:
            start = Decimal(0) if step.is_balance else level
            level = start + step.value
            spans.append((start, level))
    return spans
