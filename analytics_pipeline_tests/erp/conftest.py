"""An ERP beside the analytics database, on a PostgreSQL of its own."""

from collections.abc import Iterator

import psycopg
import pytest

from analytics_pipeline.embedded import EmbeddedPostgres
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.erp.example import ExampleErp, example_erp


@pytest.fixture(scope="session")
def erp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL that takes two-phase commits, as servers of ERPs do."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("erp"), durable=False)
    server.start()
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET max_prepared_transactions = 5")
    server.stop()
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def erp(erp_server: str, database: Database, environment: pytest.MonkeyPatch) -> Iterator[ExampleErp]:
    """The example ERP, and the settings that lead to it."""
    with example_erp(erp_server) as erp:
        use_erp(environment, erp.url)
        yield erp


def use_erp(environment: pytest.MonkeyPatch, url: str) -> None:
    environment.setenv("ANALYTICS_ERP_URL", url)
    get_settings.cache_clear()
