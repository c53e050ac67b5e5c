"""A canvas of reportlab on which colours cost a part of the usual.

A report sets four hundred of them, opaque and in RGB; reportlab asks each for its kind and its transparency.
"""

from typing import Any

from reportlab.lib.colors import Color
from reportlab.lib.rl_accel import fp_str
from reportlab.pdfgen.canvas import Canvas


class OpaqueCanvas(Canvas):
    """Writes for colours what reportlab writes; nothing on it is transparent."""

    _doc: Any
    _code: list[str]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Accept what reportlab's canvas does."""
        super().__init__(*arguments, **options)
        # As each colour of reportlab's says again.
        self._doc.ensureMinPdfVersion("transparency")

    def setFillColor(self, aColor: Any, alpha: float | None = None) -> None:  # noqa: N802, N803 - reportlab's signature
        """Fill with a colour from here on."""
        if type(aColor) is not Color or aColor.alpha != 1:
            super().setFillColor(aColor, alpha)
            return
        self._fillColorObj = aColor
        self._code.append(f"{fp_str(aColor.red, aColor.green, aColor.blue)} rg")

    def setStrokeColor(self, aColor: Any, alpha: float | None = None) -> None:  # noqa: N802, N803
        """Draw lines in a colour from here on."""
        if type(aColor) is not Color or aColor.alpha != 1:
            super().setStrokeColor(aColor, alpha)
            return
        self._strokeColorObj = aColor
        self._code.append(f"{fp_str(aColor.red, aColor.green, aColor.blue)} RG")
