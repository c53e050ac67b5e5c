"""A platform on a server that may be killed, and a month of events to be taken in, closed, reported and mailed."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance

from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.orchestration.ingestion import event_inbox
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.databases import Kind, ServerDatabases
from analytics_pipeline_tests.messages.mail_catcher import mail_server
from analytics_pipeline_tests.orchestration.faults.own_server import OwnServer, own_server, why_not
from analytics_pipeline_tests.orchestration.faults.platform_run import MONTH, Platform, SlowCatcher


@pytest.fixture(scope="module")
def databases(server: OwnServer) -> ServerDatabases:
    return ServerDatabases(server.url)


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    """The server of these tests, which any of them may kill."""
    if reason := why_not():
        pytest.skip(reason)
    yield from own_server()


@pytest.fixture
def empty_database_url(databases: ServerDatabases) -> Iterator[str]:
    """A migrated database on it, in place of one on the server that others use too."""
    databases.reconnect()
    with databases.make(Kind.MIGRATED) as url:
        yield url
        databases.reconnect()


@pytest.fixture
def platform(
    database: Database,
    instance: DagsterInstance,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Platform]:
    """Everything as it is before the first event has come in, with the pauses between attempts that there are."""
    with mail_server(catcher=SlowCatcher()) as catcher:
        assert isinstance(catcher, SlowCatcher)
        environment.setenv("ANALYTICS_SMTP_URL", f"smtp+plain://127.0.0.1:{catcher.port}")
        environment.setenv("ANALYTICS_START", f"{MONTH.start:%Y-%m-%d}")
        environment.setattr("analytics_pipeline.events.inbox.SETTLED_AFTER", timedelta())
        environment.setattr(event_inbox, "_FIRST_WAIT", timedelta())
        get_settings.cache_clear()
        yield Platform(database, instance, build_definitions(get_settings()), catcher)


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, object]:
    """What has come of the month where nothing disturbs it: the first test of a module finds out."""
    return {}
