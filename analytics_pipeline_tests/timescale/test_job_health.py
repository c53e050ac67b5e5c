"""A failing policy job is seen on every server, and what only looks like one is not."""

import time
from collections.abc import Iterator

import pytest

from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.job_health import JobHealth, read_job_health
from analytics_pipeline_tests.conftest import SERVER_URL, Database

_PATIENCE_SECONDS = 20


def _health(connection: Connection, job: int) -> JobHealth:
    return next(health for health in read_job_health(connection) if health.job_id == job)


def _add_run(connection: Connection, job: int, minutes_ago: int, error: str | None = None) -> None:
    """Write what the embedded server writes after a run."""
    connection.execute(
        "INSERT INTO analytics_job_runs (job_id, proc_name, started_at, finished_at, succeeded, error) "
        "VALUES (%(job)s, 'noop', now() - %(ago)s * interval '1 minute', now(), %(error)s::text IS NULL, "
        "%(error)s::text)",
        {"job": job, "ago": minutes_ago, "error": error},
    )


@pytest.fixture
def connection(database: Database) -> Connection:
    return database.connect(autocommit=True)


@pytest.fixture
def job(connection: Connection) -> Iterator[int]:
    """A job that does not run by itself during the test."""
    connection.execute("CREATE OR REPLACE PROCEDURE noop(job_id int, config jsonb) LANGUAGE plpgsql AS 'BEGIN END'")
    query = "SELECT add_job('noop', interval '1 hour', initial_start => now() + interval '1 day')"
    created: int = fetch_row(connection, query)[0]
    yield created
    connection.execute("SELECT delete_job(%s)", [created])


@pytest.mark.slow
def test_before_the_first_run_nothing_is_known_and_nothing_fails(connection: Connection) -> None:
    jobs = {health.name: health for health in read_job_health(connection)}
    assert "policy_compression on analytics_events" in jobs
    assert "policy_refresh_continuous_aggregate on analytics_revenue_hourly" in jobs
    assert not any(health.is_failing for health in jobs.values())


@pytest.mark.slow
def test_runs_of_the_embedded_server_are_judged(connection: Connection, job: int) -> None:
    _add_run(connection, job, 50, "too long ago (XX000)")
    _add_run(connection, job, 40)
    assert _health(connection, job).succeeded is True
    _add_run(connection, job, 30, "no space left on device (53100)")
    _add_run(connection, job, 20, "no space left on device (53100)")
    health = _health(connection, job)
    assert (health.is_failing, health.failures, health.sqlstate) == (True, 2, "53100")
    assert health.started_at is not None
    assert health.failing_since is not None
    assert round((health.started_at - health.failing_since).total_seconds()) == 600
    _add_run(connection, job, 10)
    assert not _health(connection, job).is_failing


@pytest.mark.slow
def test_a_lost_race_for_a_lock_counts_from_the_third_in_a_row(connection: Connection, job: int) -> None:
    for failures in (1, 2, 3):
        _add_run(connection, job, 10 - failures, "could not obtain lock (55P03)")
        assert _health(connection, job).is_failing is (failures == 3)


@pytest.mark.faults
@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has no background workers")
def test_background_jobs_are_judged_by_their_real_errors(connection: Connection) -> None:
    connection.execute(
        "CREATE PROCEDURE failing(job_id int, config jsonb) LANGUAGE plpgsql AS $$BEGIN RAISE 'no luck'; END$$"
    )
    connection.execute("CREATE PROCEDURE fine(job_id int, config jsonb) LANGUAGE plpgsql AS $$BEGIN END$$")
    add = "SELECT add_job(%s, interval '1 hour')"
    failing, paused, fine = (fetch_row(connection, add, [name])[0] for name in ("failing", "failing", "fine"))
    connection.execute("SELECT alter_job(%s, max_retries => 1)", [paused])
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while any(_health(connection, job).succeeded is None for job in (failing, paused, fine)):
        assert time.monotonic() < deadline, "the background workers did not run"
        time.sleep(0.2)
    health = _health(connection, failing)
    assert (health.is_failing, health.is_paused, health.error, health.sqlstate) == (True, False, "no luck", "P0001")
    assert health.failing_since is not None
    assert _health(connection, paused).is_paused
    # PostgreSQL 15.20 records this one as failed, too (24000, cannot drop portal).
    assert not _health(connection, fine).is_failing
