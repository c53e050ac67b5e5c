"""Headline figures: a row of large numbers with the previous value and the change below."""

from collections.abc import Sequence
from dataclasses import dataclass

from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable

from analytics_pipeline.reports.layout import ACCENT, INK, MUTED, NEGATIVE, Sheet
from analytics_pipeline.reports.printed_text import Printable, draw, fit, shrink

_HEIGHT = 66.0
_GAP = 12.0
_LARGE = 19.0
_COMMON_FROM = 12.0
_SMALL = 7.5


@dataclass(frozen=True, slots=True)
class Card:
    """One headline: its name, its value, the change and what it is compared with.

    ``direction`` is the sign of the change (-1, 0, 1): it chooses the pointer beside the change. ``is_good`` says
    whether more of it is welcome, and with the direction the colour.
    """

    name: Printable
    value: Printable
    change: Printable
    against: Printable
    direction: int
    is_good: bool = True


class Cards(Flowable):
    """A row of cards of equal width."""

    def __init__(self, sheet: Sheet, cards: Sequence[Card]) -> None:
        """Accept at least one card."""
        super().__init__()
        self._sheet = sheet
        self._cards = cards

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002, N803 - reportlab's signature
        """Take the page's width and a fixed height."""
        return self._sheet.width, _HEIGHT

    def draw(self) -> None:
        """Draw the cards, their values in one size as long as that stays a headline's."""
        fonts = self._sheet.fonts
        each = (self._sheet.width - _GAP * (len(self._cards) - 1)) / len(self._cards)
        sizes = [shrink(card.value, fonts.bold, _LARGE, each) for card in self._cards]
        common = max(min(sizes), _COMMON_FROM)
        for index, (card, size) in enumerate(zip(self._cards, sizes, strict=True)):
            self._draw_card(card, index * (each + _GAP), each, min(size, common))

    def _draw_card(self, card: Card, x: float, space: float, large: float) -> None:
        canvas, fonts = self.canv, self._sheet.fonts
        canvas.setStrokeColor(ACCENT)
        canvas.setLineWidth(1.5)
        canvas.line(x, _HEIGHT, x + space, _HEIGHT)
        canvas.setFillColor(MUTED)
        draw(canvas, (x, _HEIGHT - 14), fit(card.name, fonts.regular, 8.5, space), fonts.regular, 8.5)
        canvas.setFillColor(INK)
        draw(canvas, (x, _HEIGHT - 37), card.value, fonts.bold, large)
        start = x
        if card.direction:
            canvas.setFillColor(ACCENT if (card.direction > 0) == card.is_good else NEGATIVE)
            _pointer(canvas, x, _HEIGHT - 52, up=card.direction > 0)
            start += 9
        else:
            canvas.setFillColor(MUTED)
        draw(canvas, (start, _HEIGHT - 52), card.change, fonts.bold, 8.5)
        canvas.setFillColor(MUTED)
        against = shrink(card.against, fonts.regular, _SMALL, space)
        draw(canvas, (x, _HEIGHT - 63), card.against, fonts.regular, against)


def _pointer(canvas: Canvas, x: float, y: float, *, up: bool) -> None:
    """Draw a small triangle on the baseline; the font has no arrows."""
    base, tip = (y, y + 5.5) if up else (y + 5.5, y)
    path = canvas.beginPath()
    path.moveTo(x, base)
    path.lineTo(x + 6, base)
    path.lineTo(x + 3, tip)
    path.close()
    canvas.drawPath(path, stroke=0, fill=1)
