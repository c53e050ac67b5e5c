"""Clients that wait for the one session of the embedded server: said, and ended after a time."""

import pytest
from pydantic import SecretStr

from analytics_pipeline.database import connect as connect_by_settings
from analytics_pipeline.embedded import EmbeddedTimescale
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale import waiting
from analytics_pipeline.timescale.waiting import LockTimeoutError
from analytics_pipeline_tests.embedded.conftest import Connect, value


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not below a second: as often the server writes down whose turn it is.
    monkeypatch.setattr(waiting, "SAY_AFTER", 1.5)
    monkeypatch.setattr(waiting, "LOOK_EVERY", 0.5)


@pytest.mark.slow
def test_a_client_that_waits_for_its_turn_says_for_whom_and_stops_in_the_end(
    server: EmbeddedTimescale, connect: Connect
) -> None:
    settings = Settings(database_url=SecretStr(server.url))
    said: list[str] = []
    with connect_by_settings(settings, autocommit=True, lock_timeout=3, on_wait=said.append) as waiting_client:
        holder = connect(autocommit=False, application_name="a notebook")
        value(holder, "SELECT 'held'::text")
        with pytest.raises(LockTimeoutError) as failure:
            waiting_client.execute("CREATE TABLE never_made ()")
        holder.rollback()
        # Whoever has waited goes on with its connection, and finds nothing of what it has waited to do.
        assert value(waiting_client, "SELECT to_regclass('never_made') IS NULL")
    named = (
        f"the one session of the embedded database, held by client {holder.info.backend_pid} (application a notebook)"
    )
    assert [named in text for text in (*said, str(failure.value))] == [True, True]
    assert "last statement: SELECT 'held'::text" in said[0]


@pytest.mark.slow
def test_a_long_statement_of_one_s_own_is_no_wait(server: EmbeddedTimescale) -> None:
    settings = Settings(database_url=SecretStr(server.url))
    said: list[str] = []
    with connect_by_settings(settings, lock_timeout=1, on_wait=said.append) as client:
        client.execute("SELECT pg_sleep(3)")
    assert said == []
