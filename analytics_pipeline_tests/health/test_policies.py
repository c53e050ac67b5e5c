"""Policies are judged by what is configured, by what is scheduled, and by what they have done."""

import pytest

from analytics_pipeline.health.finding import State
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.migrations import migrate
from analytics_pipeline.timescale.policies import COMPRESSION, REFRESH, RETENTION, read_policies
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.health.conftest import Ask, setting

HOURLY = "analytics_revenue_hourly"


def _job(connection: Connection, procedure: str) -> int:
    return next(p.job_id for p in read_policies(connection) if p.procedure == procedure) or 0


def _old_chunk(connection: Connection) -> None:
    """Make a chunk of 2020 that has been there for months; the policy's first run must not come between."""
    connection.execute("SELECT alter_job(%s, next_start => now() + interval '1 day')", [_job(connection, COMPRESSION)])
    add_event(connection, "2020-03-05T12:00")
    connection.execute("UPDATE _timescaledb_catalog.chunk SET creation_time = now() - interval '90 days'")


def test_policies_as_migrated_are_fine(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, retention="2 years")
    migrate()
    for name in ("refresh_policies", "compression_policy", "retention_policy", "policy_jobs_healthy"):
        assert ask(name).passed, ask(name).text


def test_a_missing_refresh_policy_is_named_and_migrating_brings_it_back(ask: Ask, connection: Connection) -> None:
    connection.execute(f"SELECT remove_continuous_aggregate_policy('{HOURLY}')")
    finding = ask("refresh_policies")
    assert finding.state is State.ERROR
    assert f"{HOURLY} has no policy_refresh_continuous_aggregate" in finding.summary
    assert finding.remedies == ("analytics-pipeline db migrate",)
    migrate()
    assert ask("refresh_policies").passed
    assert len(ask("refresh_policies").metadata["wanted"]) == len(AGGREGATES)


def test_a_second_refresher_is_found(ask: Ask, connection: Connection) -> None:
    connection.execute("SELECT alter_job(%s, scheduled => true)", [_job(connection, REFRESH)])
    assert "is scheduled, and Dagster refreshes it too" in ask("refresh_policies").summary


def test_a_changed_configuration_shows_what_is_and_what_was_wanted(ask: Ask, connection: Connection) -> None:
    connection.execute(
        "SELECT alter_job(%s, config => jsonb_set(config, '{compress_after}', '\"45 days\"')) FROM "
        "timescaledb_information.jobs WHERE job_id = %s",
        [_job(connection, COMPRESSION), _job(connection, COMPRESSION)],
    )
    finding = ask("compression_policy")
    assert "is compress_after 45 days, wanted is compress_after 30 days" in finding.summary
    assert finding.metadata["found"] == {"analytics_events": "compress_after 45 days"}
    assert finding.metadata["wanted"] == {"analytics_events": "compress_after 30 days"}


def test_a_paused_policy_is_found_and_its_remedy_starts_it(ask: Ask, connection: Connection) -> None:
    connection.execute("SELECT alter_job(%s, scheduled => false)", [_job(connection, COMPRESSION)])
    assert "is not scheduled, so it does nothing" in ask("compression_policy").summary
    finding = ask("policy_jobs_healthy")
    assert finding.state is State.ERROR
    assert "is paused" in finding.summary
    connection.execute(finding.remedies[0])
    assert ask("policy_jobs_healthy").passed


def test_an_old_uncompressed_chunk_counts_whatever_the_job_is_recorded_as(ask: Ask, connection: Connection) -> None:
    _old_chunk(connection)
    finding = ask("compression_policy")
    assert finding.state is State.WARNING
    assert "1 chunks of 2020-03-05 to 2020-03-12 are older than 30 days and 2 days, and uncompressed" in finding.summary
    assert (finding.metadata["overdue chunks"], finding.metadata["overdue chunks allowed"]) == (1, 0)
    assert "is overdue" in ask("policy_jobs_healthy").summary
    connection.execute(finding.remedies[0])
    assert ask("compression_policy").passed
    assert ask("policy_jobs_healthy").passed


def test_a_chunk_loaded_today_may_wait_for_the_next_run_of_the_policy(ask: Ask, connection: Connection) -> None:
    add_event(connection, "2020-03-05T12:00")
    assert ask("compression_policy").passed


def test_a_chunk_that_outlives_retention_is_an_error_unless_the_policy_is_new(
    ask: Ask, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    _old_chunk(connection)
    setting(monkeypatch, retention="2 years")
    migrate()
    assert ask("retention_policy").passed, "a new policy waits a day before its first run"
    connection.execute(
        "SELECT alter_job(%s, scheduled => false, initial_start => now() - interval '9 days')",
        [_job(connection, RETENTION)],
    )
    finding = ask("retention_policy")
    assert "1 chunks of 2020-03-05 to 2020-03-12 are older than 2 years and 2 days, and still there" in finding.summary
    assert finding.state is State.ERROR


def test_a_retention_policy_nobody_asked_for_is_found(ask: Ask, connection: Connection) -> None:
    connection.execute("SELECT add_retention_policy('analytics_events', interval '3 years')")
    assert "that the settings don't ask for" in ask("retention_policy").summary


@pytest.mark.parametrize("start", ["NULL", "interval '23 months 20 days'"])
def test_a_refresh_window_in_reach_of_retention_is_found(
    ask: Ask, connection: Connection, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    setting(monkeypatch, retention="2 years")
    migrate()
    connection.execute("SELECT remove_continuous_aggregate_policy('analytics_crypto_daily')")
    connection.execute(
        f"SELECT add_continuous_aggregate_policy('analytics_crypto_daily', {start}, interval '1 day', interval '1 day')"
    )
    finding = ask("retention_policy")
    assert "the refresh window of analytics_crypto_daily" in finding.summary.lower()
    assert "would erase history" in finding.summary
    migrate()
    assert ask("retention_policy").passed


def test_a_failing_job_tells_its_error_and_recovers(ask: Ask, connection: Connection) -> None:
    connection.execute(
        "INSERT INTO analytics_job_runs (job_id, proc_name, started_at, finished_at, succeeded, error) "
        "VALUES (%s, 'policy_compression', now() + interval '1 minute', now(), false, 'no luck (XX000)')",
        [_job(connection, COMPRESSION)],
    )
    finding = ask("policy_jobs_healthy")
    assert finding.state is State.WARNING
    assert "fails: no luck" in finding.summary
    assert finding.remedies == (f"CALL run_job({_job(connection, COMPRESSION)});",)
    connection.execute("UPDATE analytics_job_runs SET succeeded = true, error = NULL")
    assert ask("policy_jobs_healthy").passed
