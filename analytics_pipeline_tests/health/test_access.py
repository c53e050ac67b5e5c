"""Readers see what they may: each way of seeing more, or less, is found, and fixed by what the finding says."""

import uuid
from collections.abc import Iterator

import pytest

from analytics_pipeline.database import migrate
from analytics_pipeline.health.access import function_access
from analytics_pipeline.health.check_result import State
from analytics_pipeline.metrics.access import grant_company
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.policies import change_policies
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline_tests.conftest import SERVER_URL
from analytics_pipeline_tests.health.conftest import Ask


def test_a_migrated_database_lets_readers_read_what_they_may(ask: Ask) -> None:
    finding = ask("reader_access")
    assert finding.passed, finding.text
    assert finding.metadata["relations that roles may not read but do"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        ("ALTER TABLE analytics_revenue_metrics DISABLE ROW LEVEL SECURITY", "is not enabled and forced"),
        ("ALTER TABLE analytics_company_grants NO FORCE ROW LEVEL SECURITY", "is not enabled and forced"),
        ("GRANT SELECT ON analytics_events TO analytics_reader", "every company's rows in analytics_events"),
        ("GRANT SELECT (bucket) ON analytics_revenue_daily TO PUBLIC", "in analytics_revenue_daily"),
        ("GRANT SELECT ON analytics_subscriptions TO PUBLIC", "in analytics_subscriptions"),
        ("GRANT INSERT ON analytics_company_grants TO analytics_reader", "may write to analytics_company_grants"),
        ("CREATE POLICY all_of_it ON analytics_user_metrics USING (true)", "has the further policy all_of_it"),
    ],
)
def test_seeing_more_is_an_error_whose_remedy_ends_it(
    ask: Ask, connection: Connection, break_it: str, words: str
) -> None:
    connection.execute(break_it)
    finding = ask("reader_access")
    assert finding.state is State.ERROR
    assert words in finding.summary
    for remedy in finding.remedies:
        connection.execute(remedy)
    assert ask("reader_access").passed


@pytest.mark.slow
def test_seeing_less_is_found_and_fixed_too(ask: Ask, connection: Connection) -> None:
    connection.execute("REVOKE SELECT ON analytics_mrr_movements FROM analytics_reader")
    finding = ask("reader_access")
    assert finding.state is State.WARNING
    assert "may not read analytics_mrr_movements" in finding.summary
    connection.execute("DROP POLICY own_grants ON analytics_company_grants")
    assert "lacks the policy own_grants: it shows readers nothing" in ask("reader_access").summary
    migrate()
    assert ask("reader_access").passed
    connection.execute("DROP POLICY pipeline ON analytics_mrr_movements")
    assert "it shows the owner nothing" in ask("reader_access").summary


@pytest.fixture
def role(connection: Connection) -> Iterator[str]:
    name = f"analytics_test_{uuid.uuid4().hex[:12]}"
    connection.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_who_reads_without_a_grant_is_reported(ask: Ask, connection: Connection, role: str) -> None:
    connection.execute(f"GRANT analytics_reader TO {role}")
    finding = ask("reader_access")
    assert finding.passed
    assert "Without a grant here, and not in analytics_api, these see nothing" in finding.summary
    assert role in finding.metadata["readers that see no company"]
    connection.execute(f"GRANT analytics_api TO {role}")
    finding = ask("reader_access")
    assert finding.passed
    assert role in finding.metadata["readers that name their company by analytics.company"]


def test_grants_that_mean_something_else_than_they_say_are_named(ask: Ask, connection: Connection, role: str) -> None:
    grant_company(connection, role, "acme")
    assert ask("reader_access").passed
    connection.execute(f"CREATE ROLE {role}_member; GRANT {role} TO {role}_member")
    try:
        assert f"{role} has the members {role}_member" in ask("reader_access").summary
    finally:
        connection.execute(f"DROP ROLE {role}_member")
    connection.execute(f"ALTER ROLE {role} RENAME TO {role}_x")
    try:
        finding = ask("reader_access")
        assert f"grant of acme to {role} no longer holds" in finding.summary
        assert f"analytics-pipeline access revoke {role} --company acme" in finding.remedies
    finally:
        connection.execute(f"ALTER ROLE {role}_x RENAME TO {role}")


@pytest.mark.slow
def test_a_function_of_ours_that_was_opened_is_closed_by_the_next_migration(connection: Connection) -> None:
    connection.execute("GRANT EXECUTE ON FUNCTION analytics_lock_changes TO PUBLIC")
    finding = function_access(connection)
    assert finding.state is State.WARNING
    assert finding.metadata["open functions of ours"] == ["analytics_lock_changes(boolean)"]
    assert "analytics-pipeline db migrate" in finding.remedies
    migrate()
    assert function_access(connection).metadata["open functions of ours"] == []


@pytest.mark.skipif(SERVER_URL is None, reason="nobody else can log in to the embedded server")
def test_what_timescaledb_lets_everybody_call_is_named_with_the_statement_that_closes_it(
    connection: Connection,
) -> None:
    finding = function_access(connection)
    assert finding.state is State.WARNING
    assert "every login call add_job(" in finding.summary
    (remedy,) = finding.remedies
    connection.execute(remedy)
    assert function_access(connection).passed
    # Our own policies need none of it.
    connection.execute("SELECT remove_compression_policy('analytics_events')")
    change_policies(connection, server_info(connection), {})


@pytest.mark.skipif(SERVER_URL is not None, reason="for the embedded server")
def test_the_embedded_server_has_nobody_to_close_functions_to(connection: Connection) -> None:
    assert function_access(connection).passed
