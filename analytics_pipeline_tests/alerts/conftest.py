"""One migrated database for all tests of the room, emptied of figures, rules, alerts and messages before each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.migrations import migrate
from analytics_pipeline_tests.conftest import Database, empty_database, set_environment

_TABLES = (
    "analytics_alerts, analytics_alert_rules, analytics_outbox, analytics_metric_periods, analytics_revenue_metrics, "
    "analytics_mrr_movements, analytics_user_metrics"
)


@pytest.fixture(scope="package")
def shared_database(embedded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with pytest.MonkeyPatch.context() as environment, empty_database(embedded_home) as url:
        set_environment(environment, url, embedded_home, tmp_path_factory.mktemp("alerts"))
        migrate()
        yield Database(url, get_settings())
    get_settings.cache_clear()


@pytest.fixture
def connection(shared_database: Database) -> Iterator[Connection]:
    """An autocommit connection to the emptied database."""
    with shared_database.connect(autocommit=True) as connection:
        connection.execute(f"TRUNCATE {_TABLES}")
        yield connection
