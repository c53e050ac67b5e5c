"""One migrated database for all tests of the room, emptied of figures, rules, alerts and messages before each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import Database, migrated_database

_TABLES = (
    "analytics_alerts, analytics_alert_rules, analytics_outbox, analytics_metric_periods, analytics_revenue_metrics, "
    "analytics_mrr_movements, analytics_user_metrics"
)


@pytest.fixture(scope="package")
def shared_database(embedded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with migrated_database(embedded_home, tmp_path_factory.mktemp("alerts")) as database:
        yield database


@pytest.fixture
def connection(shared_database: Database) -> Iterator[Connection]:
    """An autocommit connection to the emptied database."""
    with shared_database.connect(autocommit=True) as connection:
        connection.execute(f"TRUNCATE {_TABLES}")
        yield connection
