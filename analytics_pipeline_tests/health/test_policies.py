"""Policies are judged by what is configured, by what is scheduled, and by what they have done."""

import pytest

from analytics_pipeline.database import migrate
from analytics_pipeline.health.check_result import State
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.policies import APPLY, COMPRESSION, REFRESH, RETENTION, read_policies
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.health.conftest import Ask, setting, want_policies

pytestmark = pytest.mark.slow

HOURLY = "analytics_revenue_hourly"


def _job(connection: Connection, procedure: str) -> int:
    return next(p.job_id for p in read_policies(connection) if p.procedure == procedure) or 0


def _old_chunk(connection: Connection) -> None:
    """Make a chunk of 2020 that has been there for months; the policy's first run must not come between."""
    connection.execute("SELECT alter_job(%s, next_start => now() + interval '1 day')", [_job(connection, COMPRESSION)])
    add_event(connection, "2020-03-05T12:00")
    connection.execute("UPDATE _timescaledb_catalog.chunk SET creation_time = now() - interval '90 days'")


def test_policies_as_migrated_are_fine(ask: Ask, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    want_policies(connection, retention="2 years")
    # What the environment asks for is not what a check judges by.
    setting(monkeypatch, retention="never", compress_after="1 day", refresh_owner="timescaledb")
    for name in ("refresh_policies", "compression_policy", "retention_policy", "policy_jobs_healthy"):
        assert ask(name).passed, ask(name).text


def test_a_missing_refresh_policy_is_named_and_migrating_brings_it_back(ask: Ask, connection: Connection) -> None:
    connection.execute(f"SELECT remove_continuous_aggregate_policy('{HOURLY}')")
    finding = ask("refresh_policies")
    assert finding.state is State.ERROR
    assert f"{HOURLY} has no policy_refresh_continuous_aggregate" in finding.summary
    assert finding.remedies == (APPLY,)
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
    assert finding.remedies == (APPLY,)
    migrate()
    assert not ask("compression_policy").passed, "a migration changes no policy"
    want_policies(connection)
    assert ask("compression_policy").passed


@pytest.mark.parametrize(
    ("check", "remove"),
    [("compression_policy", "remove_compression_policy"), ("retention_policy", "remove_retention_policy")],
)
def test_a_policy_removed_by_hand_is_named_and_comes_back_by_the_command_alone(
    ask: Ask, connection: Connection, check: str, remove: str
) -> None:
    want_policies(connection, retention="2 years")
    connection.execute(f"SELECT {remove}('analytics_events')")
    finding = ask(check)
    assert finding.state is State.ERROR
    assert f"analytics_events has no policy_{check.removesuffix('_policy')}" in finding.summary
    assert finding.remedies == (APPLY,)
    assert migrate().policy_changes == ()
    assert not ask(check).passed
    want_policies(connection)
    assert ask(check).passed


def test_policies_that_nobody_wants_pass_for_what_they_are(ask: Ask, connection: Connection) -> None:
    want_policies(connection, compress_after="never")
    add_event(connection, "2020-03-05T12:00")
    assert "stay uncompressed" in ask("compression_policy").summary
    assert "kept for ever" in ask("retention_policy").summary
    assert ask("policy_jobs_healthy").passed


def test_an_engine_that_refreshes_where_that_is_not_safe_is_found(ask: Ask, connection: Connection) -> None:
    """As on a database that handed refreshing over with a program that did not look, and was then adopted."""
    safe = server_info(connection).allows_engine_refresh
    connection.execute("SELECT alter_job(job_id, scheduled => true) FROM timescaledb_information.jobs")
    connection.execute("UPDATE analytics_policies SET value = 'timescaledb' WHERE name = 'refresh_owner'")
    finding = ask("refresh_policies")
    assert finding.passed is safe, finding.text
    if not safe:
        assert "concurrent refreshes duplicate rows" in finding.summary
        assert "analytics-pipeline db policies --refresh-owner dagster" in finding.remedies


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
    assert (finding.metadata["overdue chunks"], finding.limits["overdue chunks allowed"]) == (1, 0)
    assert "is overdue" in ask("policy_jobs_healthy").summary
    connection.execute(finding.remedies[0])
    assert ask("compression_policy").passed
    assert ask("policy_jobs_healthy").passed


def test_a_chunk_loaded_today_may_wait_for_the_next_run_of_the_policy(ask: Ask, connection: Connection) -> None:
    add_event(connection, "2020-03-05T12:00")
    assert ask("compression_policy").passed


def test_a_chunk_that_outlives_retention_is_an_error_unless_the_policy_is_new(ask: Ask, connection: Connection) -> None:
    _old_chunk(connection)
    want_policies(connection, retention="2 years")
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
    finding = ask("retention_policy")
    assert "analytics_events has a policy_retention (drop_after 3 years) that is not wanted" in finding.summary
    want_policies(connection)
    assert ask("retention_policy").passed


@pytest.mark.parametrize("start", ["NULL", "interval '23 months 20 days'"])
def test_a_refresh_window_in_reach_of_retention_is_found(ask: Ask, connection: Connection, start: str) -> None:
    want_policies(connection, retention="2 years")
    connection.execute("SELECT remove_continuous_aggregate_policy('analytics_crypto_daily')")
    connection.execute(
        f"SELECT add_continuous_aggregate_policy('analytics_crypto_daily', {start}, interval '1 day', interval '1 day')"
    )
    finding = ask("retention_policy")
    assert "the refresh window of analytics_crypto_daily" in finding.summary.lower()
    assert "would erase history" in finding.summary
    assert finding.remedies == (APPLY,)
    want_policies(connection)
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
