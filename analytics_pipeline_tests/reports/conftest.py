"""What the tests of reports share."""

import pytest

from analytics_pipeline.reports.fonts import Fonts, document_fonts
from analytics_pipeline.reports.layout import Sheet, open_sheet


@pytest.fixture(scope="session")
def fonts() -> Fonts:
    """The document fonts, cut once."""
    return document_fonts()


@pytest.fixture
def sheet() -> Sheet:
    """A fresh A4 sheet."""
    return open_sheet("A4", "en_GB")
