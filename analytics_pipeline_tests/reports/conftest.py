"""What the tests of reports share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics_pipeline.reports.fonts import Fonts, document_fonts
from analytics_pipeline.reports.layout import Sheet, open_sheet
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.reports.ledger import ledger_database


@pytest.fixture(scope="session")
def fonts() -> Fonts:
    """The document fonts, cut once."""
    return document_fonts()


@pytest.fixture
def sheet() -> Sheet:
    """A fresh A4 sheet."""
    return open_sheet("A4", "en_GB")


@pytest.fixture(scope="module")
def ledger(embedded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database that holds the ledger, both months closed; tests leave it as it was."""
    with ledger_database(embedded_home, tmp_path_factory.mktemp("ledger")) as database:
        yield database


@pytest.fixture
def connection(ledger: Database) -> Iterator[Connection]:
    """An autocommit connection to the ledger."""
    with ledger.connect(autocommit=True) as connection:
        yield connection
