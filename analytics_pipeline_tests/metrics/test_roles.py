"""Each role of the database can do its job and nothing else; so can the logins that are made for it.

On a server real logins are tried, on the embedded one, where everybody is the owner, SET ROLE.
"""

import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg import sql
from pydantic import SecretStr

from analytics_pipeline.cli import main
from analytics_pipeline.database import connect, migrate
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.ingest import ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.metrics.access import GROUPS, grant_company
from analytics_pipeline.metrics.logins import LOGIN_KINDS, make_login, plan_login
from analytics_pipeline.metrics.tables import METRIC_TABLES
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.audit import list_acts
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.conftest import SERVER_URL, Database, empty_database
from analytics_pipeline_tests.events.sample_records import json_lines, payment
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import close, days

needs_server = pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has no log-ins of its own")
PASSWORD = "half moon, full tide"  # noqa: S105

FIGURES = {
    "analytics_metric_periods",
    "analytics_fx_rates",
    "analytics_companies",
    # The policies of the others look there; it shows a role its own grants.
    "analytics_company_grants",
    *(f"{table.table}{rounded}" for table in METRIC_TABLES for rounded in ("", "_rounded")),
}
READS = {
    "analytics_reader": FIGURES,
    "analytics_api": FIGURES,
    "analytics_operator": FIGURES,
    "analytics_analyst": FIGURES
    | {aggregate.name for aggregate in AGGREGATES}
    | {
        "analytics_events",
        "analytics_users",
        "analytics_user_days",
        "analytics_user_deletions",
        "analytics_subscriptions",
        "analytics_mrr_snapshots",
        "analytics_closed_windows",
        "analytics_metric_changes",
        "analytics_retention_horizon",
        "analytics_partitions",
        "analytics_archive_holds",
    },
    "analytics_writer": {
        "analytics_events",
        "analytics_ingest_rejects",
        "analytics_ingest_reject_counts",
        "analytics_event_conflicts",
        "analytics_id_aliases",
        # Of analytics_erased_ids it reads columns.
        "analytics_erasure_key",
        "analytics_api_replays",
    },
}
WRITES = {
    "analytics_writer": {
        ("analytics_events", "INSERT"),
        ("analytics_ingest_rejects", "INSERT"),
        ("analytics_ingest_reject_counts", "INSERT"),
        ("analytics_event_conflicts", "INSERT"),
        ("analytics_event_conflicts", "UPDATE"),
        *(("analytics_api_replays", privilege) for privilege in ("INSERT", "UPDATE", "DELETE")),
    }
}


def _login(admin: Connection, url: str, kind: str, connections: ExitStack) -> Connection:
    name = f"analytics_test_{uuid.uuid4().hex[:12]}"
    connections.callback(_drop_role, admin, name)
    make_login(admin, plan_login(admin, kind, name), PASSWORD)
    parts = urlsplit(url)
    own = urlunsplit(parts._replace(netloc=f"{name}@{parts.netloc.rpartition('@')[2]}"))
    return connections.enter_context(psycopg.connect(own, password=PASSWORD, autocommit=True))


def _drop_role(admin: Connection, name: str) -> None:
    if admin.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is None:
        return
    # Its session may still be ending, and temporary tables with it.
    while admin.execute("SELECT FROM pg_stat_activity WHERE usename = %s", [name]).fetchone() is not None:
        time.sleep(0.02)
    statement = sql.SQL("REASSIGN OWNED BY {0} TO CURRENT_USER; DROP OWNED BY {0}; DROP ROLE {0}")
    admin.execute(statement.format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def events(shared: Connection) -> Connection:
    """Events of two companies, closed."""
    for company in ("acme", "beta"):
        add_event(shared, "2025-01-05T10:00", company_id=company)
    close(shared, days("2025-01-05"))
    return shared


As = Callable[[str], Connection]


@pytest.fixture(scope="module")
def logins(events: Connection, shared_database: Database) -> Iterator[As]:
    """Act as a kind of login: one connection of each kind for the module."""
    with ExitStack() as connections:
        made: dict[str, Connection] = {}

        def log_in(kind: str) -> Connection:
            if SERVER_URL is None:
                events.execute(sql.SQL("RESET ROLE; SET ROLE {}").format(sql.Identifier(LOGIN_KINDS[kind].role or "")))
                return events
            if kind not in made:
                made[kind] = _login(events, shared_database.url, kind, connections)
            return made[kind]

        yield log_in


@pytest.fixture
def acting_as(logins: As, events: Connection) -> Iterator[As]:
    yield logins
    events.execute("RESET ROLE")


def _companies(connection: Connection, relation: str) -> set[str | None]:
    return {company for (company,) in connection.execute(f"SELECT DISTINCT company_id FROM {relation}").fetchall()}


def _denied(connection: Connection, *statements: str) -> None:
    for statement in statements:
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
            connection.execute(statement)


@pytest.mark.parametrize("role", GROUPS)
def test_a_role_has_the_rights_of_its_job_on_every_relation_and_no_others(events: Connection, role: str) -> None:
    rows = events.execute(
        "SELECT c.relname::text, p.privilege FROM pg_class AS c "
        "CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) "
        "AS p (privilege) WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace = 'public'::regnamespace "
        "AND c.relname LIKE 'analytics\\_%%' AND has_table_privilege(%s, c.oid, p.privilege)",
        [role],
    ).fetchall()
    reads = {relation for relation, privilege in rows if privilege == "SELECT"}
    if role == "analytics_operator":
        reads = {relation for relation in reads if not relation.startswith("analytics_operations_")}
    assert reads == READS[role]
    assert {row for row in rows if row[1] != "SELECT"} == WRITES.get(role, set())
    (can_create,) = fetch_row(events, "SELECT has_schema_privilege(%s, 'public', 'CREATE')", [role])
    assert not can_create


def test_no_role_calls_a_function_that_changes_anything(events: Connection) -> None:
    rows = events.execute(
        "SELECT r.role, p.proname::text FROM pg_proc AS p CROSS JOIN unnest(%s::text[]) AS r (role) "
        "WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'analytics\\_%%' "
        "AND p.provolatile = 'v' AND has_function_privilege(r.role, p.oid, 'EXECUTE')",
        [list(GROUPS)],
    ).fetchall()
    assert rows == []


def test_an_operator_reads_every_company_s_figures_and_no_events(acting_as: As) -> None:
    operator = acting_as("operator")
    for table in ("analytics_revenue_metrics", "analytics_user_metrics"):
        assert _companies(operator, table) == {"acme", "beta", None}
        assert _companies(operator, f"{table}_rounded") == {"acme", "beta", None}
        assert _companies(operator, f"{table} WHERE company_id = 'beta'") == {"beta"}
    _denied(
        operator,
        "SELECT FROM analytics_events LIMIT 1",
        "SELECT FROM analytics_revenue_daily LIMIT 1",
        "SELECT FROM analytics_audit LIMIT 1",
        "SELECT FROM analytics_outbox LIMIT 1",
        "DELETE FROM analytics_revenue_metrics",
        "CREATE TABLE analytics_of_mine ()",
    )


def test_an_analyst_reads_events_aggregates_and_figures_and_changes_nothing(acting_as: As) -> None:
    analyst = acting_as("analyst")
    for relation in ("analytics_events", "analytics_revenue_daily", "analytics_users", "analytics_revenue_metrics"):
        assert _companies(analyst, relation) - {None} == {"acme", "beta"}
    revenue = "SELECT * FROM analytics_revenue_by_currency(NULL, '2025-01-01', '2025-02-01')"
    assert analyst.execute(revenue).fetchall()
    _denied(
        analyst,
        "INSERT INTO analytics_events (event_id) VALUES (gen_random_uuid())",
        "DELETE FROM analytics_events",
        "UPDATE analytics_users SET first_seen = now()",
        "SELECT FROM analytics_audit LIMIT 1",
        "SELECT FROM analytics_report_recipients LIMIT 1",
        "SELECT analytics_lock_changes(true)",
        "CALL refresh_continuous_aggregate('analytics_revenue_daily', '2025-01-05', '2025-01-06')",
    )


def test_a_writer_records_events_and_changes_none(acting_as: As, tmp_path: Path, events: Connection) -> None:
    first = payment(company_id="gamma", timestamp="2025-06-01T00:00:00Z")
    path = tmp_path / "a.jsonl"
    path.write_text(json_lines([first, first, {**first, "value": "99.00"}, {"company_id": "gamma"}]))
    writer = acting_as("writer")
    summary = ingest([Source.of(path)], writer, rejects_path=tmp_path / "rejects.jsonl")
    assert (summary.new, summary.already_there, summary.conflicts, summary.rejected) == (1, 1, 1, 2)
    _denied(
        writer,
        "UPDATE analytics_events SET value = 0",
        "DELETE FROM analytics_events",
        "DELETE FROM analytics_ingest_rejects",
        "SELECT FROM analytics_revenue_metrics LIMIT 1",
        "SELECT FROM analytics_users LIMIT 1",
    )
    events.execute("RESET ROLE")
    (stored,) = fetch_row(events, "SELECT value FROM analytics_events WHERE company_id = 'gamma'")
    assert str(stored) == first["value"]


def test_the_api_s_role_reads_the_figures_of_the_company_it_names_and_no_table_of_events(acting_as: As) -> None:
    api = acting_as("api")
    api.execute("SET analytics.company = 'beta'")
    assert _companies(api, "analytics_revenue_metrics") == {"beta"}
    api.execute("RESET analytics.company")
    assert _companies(api, "analytics_revenue_metrics") == set()
    for relation in ("analytics_events", "analytics_users", *(aggregate.name for aggregate in AGGREGATES)):
        _denied(api, f"SELECT FROM {relation} LIMIT 1")


@needs_server
def test_a_reader_s_login_sees_nothing_before_a_grant(acting_as: As, events: Connection) -> None:
    reader = acting_as("reader")
    assert _companies(reader, "analytics_revenue_metrics") == set()
    grant_company(events, reader.info.user, "acme")
    assert _companies(reader, "analytics_revenue_metrics") == {"acme"}
    _denied(reader, "SELECT FROM analytics_events LIMIT 1", "DELETE FROM analytics_revenue_metrics")


@pytest.mark.slow
def test_analysts_read_new_chunks_at_once_and_new_aggregates_after_a_migration(
    acting_as: As, events: Connection
) -> None:
    add_event(events, "2023-01-05T10:00", company_id="delta")
    assert "delta" in _companies(acting_as("analyst"), "analytics_events")
    events.execute("RESET ROLE")
    events.execute(
        "CREATE MATERIALIZED VIEW analytics_made_since WITH (timescaledb.continuous) AS "
        "SELECT time_bucket('1 day', \"timestamp\") AS bucket, company_id, count(*) FROM analytics_events "
        "GROUP BY bucket, company_id WITH NO DATA"
    )
    events.execute("CREATE TABLE analytics_kept_since (company_id text)")
    events.execute("CREATE FUNCTION analytics_done_since() RETURNS void LANGUAGE sql AS ''")
    try:
        migrate()
        _denied(acting_as("api"), "SELECT FROM analytics_made_since LIMIT 1")
        _denied(acting_as("operator"), "SELECT FROM analytics_made_since LIMIT 1")
        analyst = acting_as("analyst")
        analyst.execute("SELECT FROM analytics_made_since LIMIT 1")
        _denied(analyst, "SELECT FROM analytics_kept_since LIMIT 1", "SELECT analytics_done_since()")
    finally:
        events.execute("RESET ROLE")
        events.execute("DROP MATERIALIZED VIEW analytics_made_since")
        events.execute("DROP TABLE analytics_kept_since; DROP FUNCTION analytics_done_since")


@pytest.mark.slow
def test_a_database_of_an_earlier_release_gets_the_roles_rights_with_its_data(events: Connection) -> None:
    events.execute("DROP POLICY every_company ON analytics_user_metrics")
    for role in ("analytics_operator", "analytics_analyst", "analytics_writer"):
        events.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
    events.execute("DROP TABLE analytics_audit; DROP FUNCTION analytics_record_act")
    events.execute("DELETE FROM analytics_schema_migrations WHERE name LIKE '%\\_audit.sql'")
    migrate()
    for role in ("analytics_operator", "analytics_analyst"):
        events.execute(f"SET ROLE {role}")
        try:
            assert _companies(events, "analytics_user_metrics") == {"acme", "beta", None}
        finally:
            events.execute("RESET ROLE")
    assert list_acts(events) == []


@needs_server
def test_owners_and_refreshers_act_for_an_owner_that_is_no_superuser(
    embedded_home: Path, events: Connection, tmp_path: Path
) -> None:
    """The groups exist already: an administrator makes them where the owner may not."""
    owner = f"analytics_test_{uuid.uuid4().hex[:12]}"
    with (
        empty_database(embedded_home) as url,
        psycopg.connect(url, autocommit=True) as admin,
        ExitStack() as connections,
    ):
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(owner)))
        connections.callback(_drop_role, admin, owner)
        admin.execute(
            sql.SQL("CREATE EXTENSION timescaledb; ALTER DATABASE {} OWNER TO {}").format(
                sql.Identifier(admin.info.dbname), sql.Identifier(owner)
            )
        )
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        migrate(_settings(tmp_path, urlunsplit(parts._replace(netloc=f"{owner}@{host}"))))

        deputy = _login(admin, url, "owner", connections)
        deputy_url = urlunsplit(parts._replace(netloc=f"{deputy.info.user}@{host}"))
        deputy.execute("CREATE TABLE analytics_kept_since ()")
        assert fetch_row(deputy, "SELECT tableowner FROM pg_tables WHERE tablename = 'analytics_kept_since'") == (
            owner,
        )
        migrate(_settings(tmp_path, deputy_url))
        with connect(_settings(tmp_path, deputy_url), autocommit=True) as connection:
            add_event(connection, "2025-01-05T10:00")
            close(connection, days("2025-01-05"))
            assert _companies(connection, "analytics_revenue_metrics") == {"acme", None}

        refresher = _login(admin, url, "refresher", connections)
        call = "CALL refresh_continuous_aggregate('analytics_revenue_hourly', '2025-01-05', '2025-01-06')"
        _denied(
            refresher, call, "SELECT FROM analytics_events LIMIT 1", "SELECT FROM analytics_revenue_metrics LIMIT 1"
        )
        refresher.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
        refresher.execute(call)
        refresher.close()
        deputy.close()


def _settings(home: Path, url: str) -> Settings:
    return Settings(home=home, database_url=SecretStr(url), retention="never")


def _access(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(main, ["access", *arguments], input=text)


@needs_server
def test_the_command_prints_the_statements_that_make_a_login_and_runs_the_same(
    events: Connection, shared_database: Database, tmp_path: Path
) -> None:
    name = f"analytics_test_{uuid.uuid4().hex[:8]} x"
    with ExitStack() as cleanup:
        cleanup.callback(_drop_role, events, name)
        printed = _access("login", "analyst", name).stdout.splitlines()
        assert printed[0] == f'CREATE ROLE "{name}" LOGIN;'
        assert printed[1] == f'\\password "{name}"'
        assert f'GRANT "analytics_analyst" TO "{name}" WITH INHERIT TRUE, SET TRUE;' in printed
        assert events.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is None
        file = tmp_path / "password"
        file.write_text(f"{PASSWORD}\n")
        file.chmod(stat.S_IRUSR)
        result = _access("login", "analyst", name, "--run", "--password-file", str(file))
        assert result.exit_code == 0, result.output
        (verifier,) = fetch_row(events, "SELECT rolpassword FROM pg_authid WHERE rolname = %s", [name])
        assert verifier.startswith("SCRAM-SHA-256$")
        assert PASSWORD not in result.output + str(printed)
        act = list_acts(events, act="login.make", limit=1)[0]
        assert (act.subject, act.details) == (name, {"kind": "analyst", "is new": True})
        # There it is, a second role needs no password.
        again = _access("login", "operator", name).stdout.splitlines()
        assert again[0] == f'ALTER ROLE "{name}" LOGIN;'
        assert not any("password" in line for line in again)
        assert _access("login", "operator", name, "--run").exit_code == 0
        # A writer that could only read would be none.
        assert any(
            "RESET" in line and "read_only" in line for line in _access("login", "writer", name).stdout.splitlines()
        )


@needs_server
def test_what_can_t_be_a_login_is_said_in_a_line(events: Connection, login_without_rights: Settings) -> None:
    for arguments, words, status in (
        (["reader", "analytics_reader"], "can't be a login of somebody", 2),
        (["reader", "pg_monitor"], "can't be a login of somebody", 2),
        (["owner", "anna"], "belong to the superuser", 1),
        (["reader", "anna", "--run"], "no terminal to ask for the password", 2),
        (["reader", "anna", "--no-password"], "belong to --run", 2),
    ):
        result = _access("login", *arguments)
        assert (arguments, result.exit_code, result.stdout) == (arguments, status, "")
        assert words in result.stderr
    empty = _access("login", "reader", "anna", "--run", "--password-file", "-", text="\n")
    assert "The password is empty: nothing was changed." in empty.stderr
    with connect(login_without_rights, autocommit=True) as connection:
        plan = plan_login(connection, "reader", "anna")
        with pytest.raises(AnalyticsError, match="This login may not do that"):
            make_login(connection, plan, PASSWORD)


@pytest.fixture
def login_without_rights(events: Connection, shared_database: Database, tmp_path: Path) -> Iterator[Settings]:
    with ExitStack() as connections:
        connection = _login(events, shared_database.url, "writer", connections)
        parts = urlsplit(shared_database.url)
        netloc = f"{connection.info.user}@{parts.netloc.rpartition('@')[2]}"
        yield _settings(tmp_path, urlunsplit(parts._replace(netloc=netloc)))


@pytest.mark.skipif(SERVER_URL is not None, reason="for the embedded server")
def test_the_embedded_database_says_that_it_knows_no_logins(events: Connection) -> None:
    result = _access("login", "analyst", "anna")
    assert result.exit_code == 1
    assert "SET ROLE analytics_analyst" in result.stderr
