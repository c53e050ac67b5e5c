"""A Dagster instance on PostgreSQL, as in production, with its own run history per test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy.pool
from dagster import DagsterInstance, Definitions, RetryPolicy

from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.embedded import EmbeddedPostgres
from analytics_pipeline.orchestration import shared
from analytics_pipeline.orchestration.instance import dagster_environment
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.conftest import Database


@pytest.fixture(scope="session", autouse=True)
def _pooled_storage() -> Iterator[None]:
    """Keep the connections of Dagster's storage: one for each of its statements is a third of a test's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlalchemy.pool, "NullPool", sqlalchemy.pool.QueuePool)
        yield


@pytest.fixture(scope="session")
def storage_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of the session's Dagster storage, which is stopped in the end."""
    home = tmp_path_factory.mktemp("storage")
    EmbeddedPostgres(home, durable=False).start()
    yield home
    EmbeddedPostgres(home).stop()


@pytest.fixture
def dagster_home(database: Database, storage_home: Path, tmp_path: Path, environment: pytest.MonkeyPatch) -> Path:
    """The environment of a Dagster process for this test; returns DAGSTER_HOME."""
    environment.delenv("DAGSTER_HOME", raising=False)
    environment.setenv("ANALYTICS_HOME", str(tmp_path))
    environment.setenv("ANALYTICS_START", "2025-01-01")
    environment.setenv("DAGSTER_POSTGRES_URL", EmbeddedPostgres(storage_home).url)
    get_settings.cache_clear()
    for name, value in dagster_environment(get_settings()).items():
        environment.setenv(name, value)
    return tmp_path / "dagster"


@pytest.fixture
def instance(dagster_home: Path) -> Iterator[DagsterInstance]:
    """An instance without runs."""
    with DagsterInstance.get() as instance:
        instance.wipe()
        yield instance


@pytest.fixture
def definitions(dagster_home: Path, monkeypatch: pytest.MonkeyPatch) -> Definitions:
    """The code location for the test's settings, with short pauses between attempts."""
    monkeypatch.setattr(shared, "RETRY", RetryPolicy(max_retries=1, delay=0.01))
    return build_definitions(get_settings())
