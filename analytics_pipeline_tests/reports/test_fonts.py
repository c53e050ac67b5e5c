"""The document fonts hold what the reports need and load only when asked for."""

import subprocess
import sys

import pytest
from reportlab.pdfbase import pdfmetrics

from analytics_pipeline.reports.fonts import Fonts, document_fonts


def test_both_weights_are_registered_and_differ(fonts: Fonts) -> None:
    text = "Revenue 15,000.00"

    assert pdfmetrics.stringWidth(text, fonts.bold, 10) > pdfmetrics.stringWidth(text, fonts.regular, 10)


def test_currency_signs_cyrillic_minus_and_replacement_are_covered(fonts: Fonts) -> None:
    assert {ord(character) for character in "€₿£ЖёΩőß\u2212\u2013…\u00a0\u202f\u2019\ufffd"} <= fonts.coverage


def test_scripts_that_need_shaping_are_not(fonts: Fonts) -> None:
    assert not {ord(character) for character in "\u05d0\u0634\u0915\u0e01漢"} & fonts.coverage


def test_digits_have_one_width(fonts: Fonts) -> None:
    for weight in (fonts.regular, fonts.bold):
        assert len({pdfmetrics.stringWidth(digit, weight, 100) for digit in "0123456789"}) == 1


def test_a_second_call_gives_the_same_fonts(fonts: Fonts) -> None:
    assert document_fonts() is fonts


@pytest.mark.slow
def test_importing_the_reports_does_no_work() -> None:
    code = (
        "import sys, analytics_pipeline.reports.monthly, analytics_pipeline.reports.requests;"
        "from reportlab.pdfbase import pdfmetrics;"
        "assert 'fontTools' not in sys.modules and 'upath' not in sys.modules;"
        "assert 'NotoSans' not in pdfmetrics.getRegisteredFontNames();"
        "assert 'dagster' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
