"""Somebody has taken every connection of the server: it is said in a line, and what could not be done is done later."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from analytics_pipeline.api.app import create_app
from analytics_pipeline.cli import main
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.orchestration.faults.own_server import OwnServer, own_server, why_not
from analytics_pipeline_tests.orchestration.faults.platform_run import Platform
from analytics_pipeline_tests.orchestration.faults.strikes import moments, striking

pytestmark = [pytest.mark.faults, pytest.mark.endurance]

HELD_SECONDS = 4


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    if reason := why_not():
        pytest.skip(reason)
    yield from own_server(max_connections="40")


@contextmanager
def all_connections(server: OwnServer) -> Iterator[None]:
    """Take every connection that the server has, those for superusers, too."""
    with ExitStack() as taken:

        def take_all() -> None:
            while True:
                taken.enter_context(psycopg.connect(server.url))

        with pytest.raises(psycopg.OperationalError, match="too many clients already"):
            take_all()
        yield


def test_undisturbed_the_month_comes_to_its_end(platform: Platform, undisturbed: dict[str, object]) -> None:
    undisturbed |= platform.work_undisturbed()


def test_without_a_free_connection_everybody_says_so_and_the_month_is_made_good_later(
    platform: Platform, server: OwnServer, undisturbed: dict[str, object]
) -> None:
    with all_connections(server):
        answer = CliRunner().invoke(main, ["metrics", "revenue"])
        assert (answer.exit_code, answer.output.count("\n")) == (1, 1), answer.output
        assert answer.output.startswith("Error: Can't connect to ")
        assert "too many clients already" in answer.output
        with TestClient(create_app(get_settings())) as client:
            assert client.get("/healthz").status_code == 200
            ready = client.get("/readyz")
            assert ready.status_code == 503
        assert platform.round() > 0
    platform.work()
    platform.require_as(undisturbed)


def test_connections_that_run_out_in_the_middle_of_a_close_are_waited_for(
    platform: Platform, server: OwnServer, undisturbed: dict[str, object]
) -> None:
    with platform.database.connect(autocommit=True) as connection:
        moment = moments(connection)["refresh"]

    def hold() -> None:
        taken = ExitStack()
        taken.enter_context(all_connections(server))
        threading.Timer(HELD_SECONDS, taken.close).start()

    with striking(platform.database.url, moment, hold):
        platform.work()
    platform.require_as(undisturbed)
