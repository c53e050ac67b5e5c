"""One migrated database for all tests of a module: they keep to companies of their own."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import Database, migrated_database
from analytics_pipeline_tests.metrics.subscription_changes import QUOTES


@pytest.fixture(scope="module")
def shared_database(embedded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with migrated_database(embedded_home, tmp_path_factory.mktemp("shared")) as database:
        yield database


@pytest.fixture(scope="module")
def shared(shared_database: Database) -> Iterator[Connection]:
    """An autocommit connection to the module's database."""
    with shared_database.connect(autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def rates(shared: Connection) -> Connection:
    """The connection to a database that has the rates."""
    for pair, quotes in QUOTES.items():
        for day, quote in quotes.items():
            shared.execute(
                "INSERT INTO analytics_fx_rates (rate_date, base, quote, rate, source) VALUES (%s, %s, %s, %s, 'x')",
                [day, *pair, Decimal(quote)],
            )
    return shared


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """An autocommit connection to a database of the test's own."""
    with database.connect(autocommit=True) as connection:
        yield connection
