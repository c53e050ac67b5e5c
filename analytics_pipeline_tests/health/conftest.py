"""What the tests of the checks share: asking one check, and breaking its subject."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.health import policies
from analytics_pipeline.health.check_result import CheckResult
from analytics_pipeline.health.checks import all_checks, run_check
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.policies import change_policies
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline_tests.conftest import Database

Ask = Callable[..., CheckResult]


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """An autocommit connection to a migrated database."""
    with database.connect(autocommit=True) as connection:
        yield connection


@pytest.fixture
def ask(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run one check by name, with the settings of the moment."""
    # The servers of the tests have just started.
    monkeypatch.setattr(policies, "CATCH_UP", timedelta(0))

    def _ask(name: str, subject: str = EVENTS) -> CheckResult:
        (check,) = [c for c in all_checks() if (c.name, c.subject) == (name, subject)]
        return run_check(check, connection, get_settings())

    return _ask


def setting(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Change settings from here on."""
    for name, value in variables.items():
        monkeypatch.setenv(f"ANALYTICS_{name.upper()}", value)
    get_settings.cache_clear()


def want_policies(connection: Connection, **changes: str) -> None:
    """Let the database want other policies, as ``db policies`` does."""
    change_policies(connection, server_info(connection), changes)
