"""Answers, reports and checks read a replica, with its lag in what they say, and nothing is written there."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from analytics_pipeline import database as database_module
from analytics_pipeline.api.app import create_app
from analytics_pipeline.cli import main
from analytics_pipeline.database import connect_reader, reading
from analytics_pipeline.health.checks import run_check, window_checks
from analytics_pipeline.metrics.tables import REVENUE_METRICS, close_metric
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.api.conftest import new_token
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.databases import Kind, ServerDatabases
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.orchestration.faults.own_server import OwnServer, Standby, why_not

pytestmark = [pytest.mark.slow, pytest.mark.faults]

MARCH = Window(at("2025-03-01T00:00"), at("2025-04-01T00:00"))
ASKED = ["--month", "2025-03", "--json"]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[OwnServer, OwnServer]]:
    if reason := why_not():
        pytest.skip(reason)
    with ExitStack() as started:
        primary = OwnServer()
        started.callback(primary.remove)
        standby = Standby(primary)
        started.callback(standby.remove)
        yield primary, standby


@pytest.fixture
def empty_database_url(servers: tuple[OwnServer, OwnServer]) -> Iterator[str]:
    databases = ServerDatabases(servers[0].url)
    with databases.make(Kind.MIGRATED) as url:
        yield url
    databases.close()


@pytest.fixture
def replica(database: Database, servers: tuple[OwnServer, OwnServer], environment: pytest.MonkeyPatch) -> str:
    """The URL of the same database on the replica, to which the settings point, too."""
    url = database.url.replace(str(servers[0].folder), str(servers[1].folder))
    assert url != database.url
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            # It has not followed to where the database was made.
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            break
    environment.setenv("ANALYTICS_READER_URL", url)
    get_settings.cache_clear()
    return url


def test_answers_reports_and_proofs_read_the_replica_as_far_as_it_is(
    database: Database,
    replica: str,
    servers: tuple[OwnServer, OwnServer],
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    settings = get_settings()
    with database.connect(autocommit=True) as primary, psycopg.connect(replica, autocommit=True) as standby:
        add_event(primary, "2025-03-05T10:00", value="10.00")
        for granularity in Granularity:
            for aggregate in (a for a in AGGREGATES if a.granularity is granularity):
                refresh(primary, aggregate, MARCH)
        close_metric(primary, REVENUE_METRICS, Granularity.MONTH, MARCH, "EUR")
        token = new_token(database, "acme")[1]

        with reading(settings, primary) as reader:
            assert reader is not primary
            assert reader.execute("SELECT pg_is_in_recovery(), count(*) FROM analytics_events").fetchone() == (True, 1)
            # The proofs of what is closed: they write nothing.
            for check in window_checks():
                finding = run_check(check, reader, settings)
                assert finding.metadata.get("judged", True), finding.text

        # From here on it follows no more.
        standby.execute("SELECT pg_wal_replay_pause()")
        add_event(primary, "2025-03-06T12:00", value="5.00")
        answer = json.loads(CliRunner().invoke(main, ["metrics", "revenue", *ASKED]).output)
        assert (answer["totalRevenue"], answer["dataThrough"]) == ("10.00", "2025-03-05T10:00:00Z")
        with TestClient(create_app(settings)) as client:
            headers = {"Authorization": f"Bearer {token}"}
            asked = "/analytics/revenue?startDate=2025-03-01&endDate=2025-03-31"
            served = client.get(asked, headers=headers).json()
            assert (served["totalRevenue"], served["dataThrough"]) == (10.0, "2025-03-05T10:00:00Z")
            # What is asked for is written to the primary, and read there.
            order = {"startDate": "2025-03-01", "endDate": "2025-03-31", "format": "csv"}
            made = client.post("/analytics/reports", json=order, headers=headers)
            assert made.status_code == 202, made.text
            assert client.get(made.headers["location"], headers=headers).status_code == 200

            # A document waits until the replica has followed, and takes the primary where it doesn't.
            environment.setattr(database_module, "_CATCHES_UP_WITHIN", 0.2)
            with reading(settings, primary) as reader:
                assert reader is primary
            standby.execute("SELECT pg_wal_replay_resume()")
            environment.setattr(database_module, "_CATCHES_UP_WITHIN", 30.0)
            with reading(settings, primary) as reader:
                assert reader.execute("SELECT pg_is_in_recovery(), count(*) FROM analytics_events").fetchone() == (
                    True,
                    2,
                )
            assert client.get(asked, headers=headers).json()["dataThrough"] == "2025-03-06T12:00:00Z"


def test_a_replica_that_is_away_fails_answers_and_no_document(
    database: Database, environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment.setenv("ANALYTICS_READER_URL", "postgresql://reader:hunter2@127.0.0.1:1/analytics")
    get_settings.cache_clear()
    result = CliRunner().invoke(main, ["metrics", "revenue", *ASKED])
    assert result.exit_code == 1
    assert "Check ANALYTICS_READER_URL and the server." in result.output
    assert "hunter2" not in result.output
    with database.connect(autocommit=True) as primary, reading(get_settings(), primary) as reader:
        assert reader is primary
    assert "The primary is read instead of the replica" in caplog.text
    with pytest.raises(Exception, match="ANALYTICS_READER_URL"):
        connect_reader()
