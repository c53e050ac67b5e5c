"""Policies on an engine without background workers: due jobs run, and how they ended is kept."""

import time
from typing import Any

import psycopg
import pytest

from analytics_pipeline.embedded import EmbeddedTimescale
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline_tests.embedded.conftest import MIGRATIONS, Connect, MakeHome, value

pytestmark = pytest.mark.slow


@pytest.fixture
def database(connect: Connect) -> "psycopg.Connection[Any]":
    """A hypertable with old chunks, and the table of job runs."""
    connection = connect()
    connection.execute("DROP TABLE IF EXISTS metered")
    connection.execute("DROP TABLE IF EXISTS analytics_job_runs")
    connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    connection.execute("SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE job_id >= 1000")
    connection.execute((MIGRATIONS / "0006_job_runs.sql").read_text())
    connection.execute("CREATE TABLE metered (at timestamptz NOT NULL, who int, amount int)")
    connection.execute("SELECT create_hypertable('metered', 'at')")
    connection.execute("ALTER TABLE metered SET (timescaledb.compress, timescaledb.compress_segmentby = 'who')")
    connection.execute(
        "INSERT INTO metered SELECT now() - i * interval '1 day', i % 3, i FROM generate_series(0, 99) i"
    )
    return connection


def outcomes(connection: "psycopg.Connection[Any]", job: int) -> list[bool]:
    rows = connection.execute("SELECT succeeded FROM analytics_job_runs WHERE job_id = %s ORDER BY run_id", (job,))
    return [succeeded for (succeeded,) in rows]


def test_without_extension_and_table_nothing_is_due(server: EmbeddedTimescale) -> None:
    server.run_due_jobs()
    assert server.status().running


def test_due_policy_runs_and_its_outcome_shows(server: EmbeddedTimescale, database: "psycopg.Connection[Any]") -> None:
    job = value(database, "SELECT add_compression_policy('metered', interval '30 days')")
    server.run_due_jobs()
    assert outcomes(database, job) == [True]
    row = database.execute(
        "SELECT proc_name, relation, finished_at >= started_at, error FROM analytics_job_runs WHERE job_id = %s", (job,)
    ).fetchone()
    assert row == ("policy_compression", "public.metered", True, None)
    compressed = (
        "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed AND hypertable_name = 'metered'"
    )
    assert value(database, compressed) > 5
    # Not again before its interval is over.
    server.run_due_jobs()
    assert outcomes(database, job) == [True]
    database.execute(
        "UPDATE analytics_job_runs SET started_at = started_at - interval '1 day',"
        " finished_at = finished_at - interval '1 day'"
    )
    server.run_due_jobs()
    assert outcomes(database, job) == [True, True]


@pytest.mark.faults
def test_jobs_run_by_themselves(make_home: MakeHome) -> None:
    embedded = EmbeddedTimescale(make_home(), job_interval=0.2)
    embedded.start()
    try:
        with psycopg.connect(embedded.url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION timescaledb")
            connection.execute((MIGRATIONS / "0006_job_runs.sql").read_text())
            connection.execute("CREATE PROCEDURE noop(job_id int, config jsonb) LANGUAGE plpgsql AS 'BEGIN END'")
            job = value(connection, "SELECT add_job('noop', interval '1 hour')")
            deadline = time.monotonic() + 10
            while outcomes(connection, job) != [True]:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        embedded.stop()


def test_retention_waits_for_its_initial_start(server: EmbeddedTimescale, database: "psycopg.Connection[Any]") -> None:
    job = value(
        database,
        "SELECT add_retention_policy('metered', interval '30 days', initial_start => now() + interval '1 day')",
    )
    unscheduled = value(database, "SELECT add_compression_policy('metered', interval '30 days')")
    database.execute("SELECT alter_job(%s, scheduled => false)", (unscheduled,))
    server.run_due_jobs()
    assert outcomes(database, job) == []
    assert outcomes(database, unscheduled) == []
    assert value(database, "SELECT count(*) FROM metered") == 100
    database.execute("SELECT alter_job(%s, next_start => now() + interval '1 day', initial_start => now())", (job,))
    server.run_due_jobs()
    assert outcomes(database, job) == []


def test_failure_is_kept_and_retried_with_patience(
    server: EmbeddedTimescale, database: "psycopg.Connection[Any]"
) -> None:
    database.execute(
        "CREATE OR REPLACE PROCEDURE failing(job_id int, config jsonb) LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'no luck'; END$$"
    )
    job = value(database, "SELECT add_job('failing', interval '1 hour')")
    database.execute("SELECT alter_job(%s, retry_period => interval '10 minutes')", (job,))
    server.run_due_jobs()
    server.run_due_jobs()
    assert outcomes(database, job) == [False]
    assert "no luck" in value(database, "SELECT error FROM analytics_job_runs WHERE job_id = %s", job)

    def minutes_later(minutes: int) -> int:
        database.execute(
            "UPDATE analytics_job_runs SET started_at = started_at - %s * interval '1 minute',"
            " finished_at = finished_at - %s * interval '1 minute'",
            (minutes, minutes),
        )
        server.run_due_jobs()
        return len(outcomes(database, job))

    assert minutes_later(9) == 1
    assert minutes_later(2) == 2
    assert minutes_later(11) == 2, "twice the period after the second failure"
    assert minutes_later(10) == 3
    assert server.status().running


@pytest.mark.faults
def test_run_the_server_did_not_survive_counts_as_failed(
    server: EmbeddedTimescale, database: "psycopg.Connection[Any]"
) -> None:
    job = value(database, "SELECT add_compression_policy('metered', interval '30 days')")
    database.execute("INSERT INTO analytics_job_runs (job_id, proc_name) VALUES (%s, 'policy_compression')", (job,))
    database.close()
    server.stop()
    server.start()
    server.run_due_jobs()
    with psycopg.connect(server.url, autocommit=True) as connection:
        assert outcomes(connection, job) == [False]
        assert value(connection, "SELECT error FROM analytics_job_runs") == "the server stopped during the run"
        connection.execute("SELECT delete_job(%s)", (job,))


@pytest.mark.faults
def test_a_job_that_the_engine_did_not_survive_counts_as_failed_and_is_named(
    server: EmbeddedTimescale, database: "psycopg.Connection[Any]"
) -> None:
    database.execute(
        "CREATE OR REPLACE PROCEDURE trapping(job_id int, config jsonb) LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM repeat('[', 5000000)::jsonb; END$$"
    )
    job = value(database, "SELECT add_job('trapping', interval '1 hour')")
    with pytest.raises(AnalyticsError, match="could not do its policy jobs"):
        server.run_due_jobs()
    assert f"it ran policy job {job} trapping" in server.log_file.read_text()
    server.run_due_jobs()
    assert outcomes(database, job) == [False]
