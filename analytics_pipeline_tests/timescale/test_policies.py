"""What a database wants of its policies is kept in it: the environment counts once, a migration changes nothing."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from analytics_pipeline.database import connect, migrate
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.timescale.migrations import MigrationReport
from analytics_pipeline.timescale.policies import (
    COMPRESSION,
    REFRESH,
    RETENTION,
    Policy,
    PolicyChange,
    PolicyValues,
    change_policies,
    policy_differences,
    policy_records,
    policy_values,
    preview_policies,
    read_policies,
)
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.first_migration import take_back_policies

pytestmark = pytest.mark.slow

EVENTS = "analytics_events"
Attempt = Callable[..., object]


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


def _policies(connection: Connection) -> dict[tuple[str, str], Policy]:
    return {(p.procedure, p.relation): p for p in read_policies(connection)}


def _retention(connection: Connection) -> str:
    policy = _policies(connection).get((RETENTION, EVENTS))
    return "never" if policy is None else policy.config["drop_after"]


def _change(connection: Connection, **changes: str) -> list[PolicyChange]:
    return change_policies(connection, server_info(connection), changes)


def _with(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(f"ANALYTICS_{name.upper()}", value)
    get_settings.cache_clear()
    return get_settings()


def _as_before_0024(connection: Connection) -> None:
    """Leave a database as the program left it that kept the wanted policies in the environment."""
    connection.execute("DROP TABLE analytics_policies")
    connection.execute("DELETE FROM analytics_schema_migrations WHERE version = 24")


def test_refresh_policies_are_registered_but_left_to_dagster(connection: Connection) -> None:
    policies = _policies(connection)
    assert {relation for procedure, relation in policies if procedure == REFRESH} == {a.name for a in AGGREGATES}
    assert not any(p.scheduled for (procedure, _), p in policies.items() if procedure == REFRESH)


def test_retention_never_means_no_retention_policy(connection: Connection) -> None:
    assert _retention(connection) == "never"


def test_a_new_database_has_what_the_environment_asks_for_and_says_who_set_it(environment: pytest.MonkeyPatch) -> None:
    changes = migrate(_with(environment, retention="3 years", compress_after="45 days")).policy_changes
    assert {(c.procedure, c.action.split(";")[0]) for c in changes if c.relation == EVENTS} == {
        (COMPRESSION, "added"),
        (RETENTION, "added"),
    }
    with connect(autocommit=True) as connection:
        assert policy_values(connection) == PolicyValues("3 years", "45 days", "dagster")
        assert policy_differences(connection, policy_values(connection)) == []
        record = policy_records(connection)["retention"]
        assert (record.origin, record.set_by) == ("environment", connection.info.user)
        assert "@" in record.client


def test_a_migration_from_a_shell_without_the_setting_brings_no_retention_back(
    environment: pytest.MonkeyPatch,
) -> None:
    migrate(_with(environment, retention="2 years"))
    with connect(autocommit=True) as connection:
        add_event(connection, "2020-03-05T12:00")
        _change(connection, retention="never")
        # Another shell, and a job of a deployment that was given nothing: the default is 2 years.
        environment.delenv("ANALYTICS_RETENTION")
        get_settings.cache_clear()
        assert get_settings().retention == "2 years"
        report = migrate()
        assert (report.policy_changes, report.notes) == ((), ())
        assert _retention(connection) == policy_values(connection).retention == "never"


def test_a_setting_that_asks_for_something_else_changes_nothing_and_is_told_the_command(
    connection: Connection, environment: pytest.MonkeyPatch
) -> None:
    _change(connection, retention="2 years")
    report = migrate(_with(environment, retention="never", compress_after="45 days"))
    assert report.policy_changes == ()
    assert _retention(connection) == "2 years"
    assert _policies(connection)[COMPRESSION, EVENTS].config["compress_after"] == "30 days"
    compression, retention = sorted(report.notes)
    assert "ANALYTICS_COMPRESS_AFTER=45 days counts for a new database only; this one wants 30 days" in compression
    assert compression.endswith("'analytics-pipeline db policies --compress-after \"45 days\"'.")
    assert retention.endswith("'analytics-pipeline db policies --retention \"never\"'.")
    # 24 months are 2 years: written differently, the same.
    assert migrate(_with(environment, retention="24 months", compress_after="30 days")).notes == ()


@pytest.mark.parametrize(
    "found", [PolicyValues("3 years", "60 days", "dagster"), PolicyValues("never", "never", "dagster")]
)
def test_an_older_database_wants_what_it_has_whatever_the_environment_says(
    connection: Connection, environment: pytest.MonkeyPatch, found: PolicyValues
) -> None:
    add_event(connection, "2020-03-05T12:00")
    _change(connection, retention=found.retention, compress_after=found.compress_after)
    before = _policies(connection)
    _as_before_0024(connection)
    report = migrate(_with(environment, retention="2 years", compress_after="45 days"))
    assert (report.applied, report.policy_changes) == (("0024_policies.sql",), ())
    assert _policies(connection) == before
    assert policy_values(connection) == found
    assert {record.origin for record in policy_records(connection).values()} == {"adopted"}
    assert f"from now on those that it wants: compress_after {found.compress_after}" in report.notes[0]
    assert len(report.notes) == 3, "and where the environment asks for something else"


def test_an_older_database_without_any_policy_but_with_events_gets_none(
    connection: Connection, environment: pytest.MonkeyPatch
) -> None:
    add_event(connection, "2020-03-05T12:00")
    _change(connection, compress_after="never")
    for aggregate in AGGREGATES:
        connection.execute("SELECT remove_continuous_aggregate_policy(%s)", [aggregate.name])
    _as_before_0024(connection)
    changes = migrate(_with(environment, retention="2 years")).policy_changes
    assert {c.procedure for c in changes} == {REFRESH}, "refresh policies drop nothing"
    assert policy_values(connection) == PolicyValues("never", "never", "dagster")


def test_an_aggregate_that_has_no_refresh_policy_yet_gets_one(connection: Connection) -> None:
    connection.execute("SELECT remove_continuous_aggregate_policy(%s)", [AGGREGATES[-1].name])
    assert migrate().policy_changes == (PolicyChange(AGGREGATES[-1].name, REFRESH, "added"),)
    assert not _policies(connection)[REFRESH, AGGREGATES[-1].name].scheduled


def test_a_policy_changed_by_hand_is_left_by_a_migration_which_says_so(connection: Connection) -> None:
    connection.execute("SELECT add_retention_policy('analytics_events', interval '1 year')")
    connection.execute("SELECT remove_compression_policy('analytics_events')")
    report = migrate()
    assert report.policy_changes == ()
    assert _retention(connection) == "1 year"
    assert {note.partition(".")[0] for note in report.notes} == {
        "analytics_events has no policy_compression, wanted is compress_after 30 days",
        "analytics_events has a policy_retention (drop_after 1 year) that is not wanted",
    }
    assert all(note.endswith("'analytics-pipeline db policies --apply'.") for note in report.notes)
    changes = {(c.procedure, c.action) for c in _change(connection)}
    assert changes == {(RETENTION, "removed"), (COMPRESSION, "added")}
    assert policy_differences(connection, policy_values(connection)) == []


def test_a_change_replaces_the_policy_and_the_same_value_leaves_it(connection: Connection) -> None:
    changes = {
        (c.procedure, c.action.split(";")[0])
        for c in _change(connection, compress_after="45 days", retention="2 years")
    }
    assert changes == {(COMPRESSION, "replaced"), (RETENTION, "added")}
    assert _policies(connection)[COMPRESSION, EVENTS].config["compress_after"] == "45 days"
    record = policy_records(connection)["retention"]
    assert (record.value, record.origin) == ("2 years", "command")
    assert _change(connection, retention="24 months") == []
    assert {(c.procedure, c.action) for c in _change(connection, retention="never")} == {(RETENTION, "removed")}


def test_a_new_retention_policy_says_what_it_will_drop_and_drops_nothing_yet(connection: Connection) -> None:
    add_event(connection, "2020-03-05T12:00")
    (preview,) = preview_policies(connection, server_info(connection), {"retention": "2 years"})
    assert "will drop 1 chunks of raw events of 2020-03-05 to 2020-03-12" in preview.action
    assert _retention(connection) == policy_values(connection).retention == "never", "looked at only"
    assert _change(connection, retention="2 years") == [preview]
    assert connection.execute("SELECT count(*) FROM analytics_events").fetchone() == (1,)


def test_wanting_and_having_change_together_or_not_at_all(connection: Connection) -> None:
    _change(connection, retention="2 years")
    before = policy_records(connection)
    # The last statement of the change fails, as if the process had been killed there.
    connection.execute(
        "CREATE FUNCTION pg_temp.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'stopped here'; END $$"
    )
    connection.execute(
        "CREATE CONSTRAINT TRIGGER fail AFTER UPDATE ON analytics_policies DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION pg_temp.fail()"
    )
    with pytest.raises(psycopg.errors.RaiseException, match="stopped here"):
        _change(connection, retention="never")
    assert policy_records(connection) == before
    assert _retention(connection) == "2 years"


def test_a_change_over_what_somebody_else_has_changed_meanwhile_is_refused(connection: Connection) -> None:
    seen = policy_values(connection)
    _change(connection, compress_after="60 days")
    with pytest.raises(AnalyticsError, match="Somebody else has changed the policies meanwhile"):
        change_policies(connection, server_info(connection), {"retention": "2 years"}, expected=seen)
    assert _retention(connection) == "never"


def test_a_first_migration_that_was_killed_before_its_policies_is_still_one_of_a_new_database(
    connection: Connection, environment: pytest.MonkeyPatch
) -> None:
    take_back_policies(connection)
    with pytest.raises(AnalyticsError, match="run 'analytics-pipeline db migrate' first"):
        policy_values(connection)
    migrate(_with(environment, retention="3 years"))
    assert policy_values(connection) == PolicyValues("3 years", "30 days", "dagster")
    assert _retention(connection) == "3 years"


def test_two_first_migrations_at_once_agree_on_the_policies(environment: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "from analytics_pipeline.database import migrate; migrate()"]

    def run(retention: str) -> subprocess.CompletedProcess[str]:
        variables = os.environ | {"ANALYTICS_RETENTION": retention}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)

    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(run, ["2 years", "3 years"]))
    assert [r.returncode for r in runs] == [0, 0], [r.stderr for r in runs]
    with connect(autocommit=True) as connection:
        assert _retention(connection) == policy_values(connection).retention in {"2 years", "3 years"}
        assert policy_differences(connection, policy_values(connection)) == []


def _new_database(connection: Connection, environment: pytest.MonkeyPatch, **changes: str) -> MigrationReport:
    take_back_policies(connection)
    return migrate(_with(environment, **changes))


def _existing_database(connection: Connection, environment: pytest.MonkeyPatch, **changes: str) -> list[PolicyChange]:
    return _change(connection, **changes)


@pytest.mark.parametrize("attempt", [_new_database, _existing_database])
def test_a_retention_within_reach_of_a_refresh_window_is_refused(
    connection: Connection, environment: pytest.MonkeyPatch, attempt: Attempt
) -> None:
    with pytest.raises(AnalyticsError, match=r"retention of 3 months is too short: .*5 months.*ANALYTICS_RETENTION"):
        attempt(connection, environment, retention="3 months")
    assert _retention(connection) == "never"


def test_the_shortest_retention_is_the_one_that_is_named(
    connection: Connection, environment: pytest.MonkeyPatch
) -> None:
    # Four months and seven days have 127 days at least and 130 at most.
    with pytest.raises(AnalyticsError, match="126 days is too short: it must be longer than 4 months 7 days"):
        _existing_database(connection, environment, retention="126 days")
    _existing_database(connection, environment, retention="131 days")
    assert _retention(connection) == "131 days"


@pytest.mark.parametrize("attempt", [_new_database, _existing_database])
@pytest.mark.parametrize("compress_after", ["2 years", "6 months"])
def test_compressing_what_has_been_dropped_before_is_refused(
    connection: Connection, environment: pytest.MonkeyPatch, attempt: Attempt, compress_after: str
) -> None:
    message = (
        f"With a retention of 6 months, compressing after {compress_after} would never .*: use a shorter age, or never "
        r"\(ANALYTICS_COMPRESS_AFTER of a new database, --compress-after of 'db policies'\)\.$"
    )
    with pytest.raises(AnalyticsError, match=message):
        attempt(connection, environment, retention="6 months", compress_after=compress_after)
    assert _retention(connection) == "never"
    assert policy_records(connection) == {} or policy_values(connection).compress_after == "30 days"


@pytest.mark.parametrize("attempt", [_new_database, _existing_database])
@pytest.mark.parametrize("values", [("6 months", "never"), ("never", "2 years"), ("6 months", "5 months")])
def test_compressing_never_or_before_the_retention_is_sound(
    connection: Connection, environment: pytest.MonkeyPatch, attempt: Attempt, values: tuple[str, str]
) -> None:
    retention, compress_after = values
    attempt(connection, environment, retention=retention, compress_after=compress_after)
    assert policy_values(connection) == PolicyValues(retention, compress_after, "dagster")


@pytest.mark.parametrize("attempt", [_new_database, _existing_database])
def test_the_engine_refreshes_only_where_that_is_safe(
    connection: Connection, environment: pytest.MonkeyPatch, attempt: Attempt
) -> None:
    if server_info(connection).allows_engine_refresh:
        attempt(connection, environment, refresh_owner="timescaledb")
    else:
        with pytest.raises(AnalyticsError, match=r"needs TimescaleDB 2\.26\.3"):
            attempt(connection, environment, refresh_owner="timescaledb")
    scheduled = {p.scheduled for (procedure, _), p in _policies(connection).items() if procedure == REFRESH}
    assert scheduled <= {server_info(connection).allows_engine_refresh}


def test_the_engine_refreshes_in_one_pass_over_its_whole_window(connection: Connection) -> None:
    if not server_info(connection).allows_engine_refresh:
        pytest.skip("this TimescaleDB may not refresh by itself")
    for aggregate in AGGREGATES:
        # As a program before this one has registered them.
        connection.execute("SELECT remove_continuous_aggregate_policy(%s)", [aggregate.name])
        refresh = aggregate.refresh_policy
        (job,) = connection.execute(
            "SELECT add_continuous_aggregate_policy(%s, %s::interval, %s::interval, %s::interval)",
            [aggregate.name, refresh.start_offset, refresh.end_offset, refresh.schedule_interval],
        ).fetchone() or (None,)
        connection.execute("SELECT alter_job(%s, scheduled => false)", [job])
    assert policy_differences(connection, policy_values(connection)) == [], "while it doesn't run it may stay"
    changes = _change(connection, refresh_owner="timescaledb")
    assert {(c.relation, c.action) for c in changes} == {(a.name, "replaced") for a in AGGREGATES}
    policies = [p for p in read_policies(connection) if p.procedure == REFRESH]
    assert {(p.config["buckets_per_batch"], p.scheduled) for p in policies} == {("0", True)}
    now = Granularity.HOUR.floor(datetime.now(UTC))
    add_event(connection, f"{now - timedelta(hours=70):%Y-%m-%dT%H:%M}")
    (hourly,) = (p for p in policies if p.relation == AGGREGATES[0].name)
    connection.execute("CALL run_job(%s)", [hourly.job_id])
    # Nothing has happened since, and the days since may not even have a chunk.
    assert stale_ranges(connection, Window(now - timedelta(hours=70), now - timedelta(hours=1)), hourly.relation) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("retention", "soon"), ("compress_after", "-1 days"), ("start", "2025-01-15"), ("refresh_owner", "me")],
)
def test_a_setting_of_the_wrong_form_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"ANALYTICS_{name.upper()}", value)
    get_settings.cache_clear()
    with pytest.raises(AnalyticsError, match=f"ANALYTICS_{name.upper()}"):
        get_settings()
    get_settings.cache_clear()
