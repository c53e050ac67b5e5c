"""Who may read which company's figures."""

import json
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
from analytics_pipeline.metrics.access import grant_company, list_grants, readers_without_grants, revoke_company
from analytics_pipeline.metrics.tables import METRIC_TABLES
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.conftest import SERVER_URL, Database, empty_database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import close_figures, days
from analytics_pipeline_tests.metrics.subscription_changes import a_change, load

TABLES = [table.table for table in METRIC_TABLES]
# What a reader reads: the tables, the views of them as they are shown, and what is known of companies.
READ = [*TABLES, *(f"{table}_rounded" for table in TABLES), "analytics_companies"]
COMPANIES = ("acme", "beta", "gamma")
# Whose rows somebody sees who may see every company's: theirs, and in the tables of figures those over all together.
EVERYBODY = {table: {*COMPANIES, *([] if table == "analytics_companies" else [None])} for table in READ}

needs_server = pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has no log-ins of its own")


@pytest.fixture(scope="module")
def figures(shared: Connection) -> Connection:
    """Three companies with a row in each metric table."""
    load(shared, a_change("01-05"))
    shared.execute("UPDATE analytics_events SET company_id = 'acme'")
    for company in COMPANIES[1:]:
        shared.execute(
            'INSERT INTO analytics_events SELECT gen_random_uuid(), "timestamp", ingested_at, %s, user_id, event_type, '
            "category, value, currency, metadata FROM analytics_events WHERE company_id = 'acme'",
            [company],
        )
    shared.execute(
        "INSERT INTO analytics_companies (company_id, name) SELECT c, upper(c) FROM unnest(%s::text[]) AS c",
        [[*COMPANIES]],
    )
    close_figures(shared, days("2025-01-05"))
    assert _seen(shared) == EVERYBODY
    return shared


@pytest.fixture
def reader(figures: Connection) -> Iterator[Connection]:
    """The owner's connection in the role of analytics_reader."""
    figures.execute("SET ROLE analytics_reader")
    yield figures
    figures.execute("RESET ROLE")
    figures.execute("RESET analytics.company")
    figures.execute("DELETE FROM analytics_company_grants")


@pytest.fixture
def api(reader: Connection) -> Connection:
    """The owner's connection in the role of analytics_api: an application that serves one company at a time."""
    reader.execute("RESET ROLE; SET ROLE analytics_api")
    return reader


Login = Callable[[], Connection]


@pytest.fixture
def role(figures: Connection) -> Iterator[Callable[[], str]]:
    """Make roles that are gone after the test."""
    made: list[str] = []

    def make() -> str:
        made.append(f"analytics_test_{uuid.uuid4().hex[:12]}")
        figures.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(made[-1])))
        return made[-1]

    yield make
    figures.execute("DELETE FROM analytics_company_grants")
    for name in made:
        figures.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


@pytest.fixture
def stranger(role: Callable[[], str], shared_database: Database) -> Iterator[Login]:
    """Log in as a new role that may do nothing."""
    with ExitStack() as connections:

        def log_in() -> Connection:
            parts = urlsplit(shared_database.url)
            url = urlunsplit(parts._replace(netloc=f"{role()}@{parts.netloc.rpartition('@')[2]}"))
            return connections.enter_context(psycopg.connect(url, autocommit=True))

        yield log_in


@pytest.fixture
def login(stranger: Login, figures: Connection) -> Login:
    """Log in as a new member of analytics_reader."""

    def log_in() -> Connection:
        connection = stranger()
        figures.execute(sql.SQL("GRANT analytics_reader TO {}").format(sql.Identifier(connection.info.user)))
        return connection

    return log_in


def _seen(connection: Connection) -> dict[str, set[str | None]]:
    return {
        table: {company for (company,) in connection.execute(f"SELECT company_id FROM {table}").fetchall()}
        for table in READ
    }


def only(*companies: str) -> dict[str, set[str]]:
    return {table: set(companies) for table in READ}


def test_an_application_sees_the_company_of_its_session_and_nothing_without_one(api: Connection) -> None:
    assert _seen(api) == only()
    for company, visible in (("acme", ["acme"]), ("beta", ["beta"]), ("nobody", []), ("", []), ("%", [])):
        api.execute("SELECT set_config('analytics.company', %s, false)", [company])
        assert _seen(api) == only(*visible)


def test_a_reader_without_a_grant_sees_nothing_whichever_company_it_names(reader: Connection) -> None:
    assert _seen(reader) == only()
    for company in ("acme", "beta", "", "%"):
        reader.execute("SELECT set_config('analytics.company', %s, false)", [company])
        assert _seen(reader) == only()


def test_a_reader_reads_no_events_no_aggregates_and_writes_nothing(reader: Connection) -> None:
    reader.execute("SET analytics.company = 'acme'")
    closed = ["events", "users", "subscriptions", "metric_changes"]
    for relation in [*(f"analytics_{name}" for name in closed), *(aggregate.name for aggregate in AGGREGATES)]:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(f"SELECT FROM {relation} LIMIT 1")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute("SELECT * FROM analytics_revenue_figures('{}')")
    for table in [*TABLES, "analytics_company_grants"]:
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET company_id = 'acme'", f"TRUNCATE {table}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)
    for relation in READ:
        asked = "SELECT has_table_privilege('analytics_reader', %s, 'INSERT, UPDATE, DELETE')"
        assert fetch_row(reader, asked, [relation]) == (False,)


def test_grants_are_by_role_and_bind_whoever_takes_it_on(reader: Connection) -> None:
    reader.execute("RESET ROLE")
    reader.execute(
        "INSERT INTO analytics_company_grants (role_name, company_id, role_oid) "
        "VALUES ('analytics_reader', 'acme', 'analytics_reader'::regrole), ('nobody_at_all', 'beta', NULL)"
    )
    reader.execute("SET ROLE analytics_reader")
    assert _seen(reader) == only("acme")
    assert reader.execute("SELECT company_id FROM analytics_company_grants").fetchall() == [("acme",)]
    reader.execute("SET analytics.company = 'beta'")
    assert _seen(reader) == only()


@needs_server
def test_a_role_with_grants_sees_these_companies_and_can_only_narrow_that(login: Login, figures: Connection) -> None:
    analyst = login()
    for company in ("acme", "beta"):
        assert grant_company(figures, analyst.info.user, company)
    assert _seen(analyst) == only("acme", "beta")
    for company, visible in (("acme", ["acme"]), ("gamma", []), ("", ["acme", "beta"])):
        analyst.execute("SELECT set_config('analytics.company', %s, false)", [company])
        assert _seen(analyst) == only(*visible)


@needs_server
def test_a_role_with_grants_stays_bound_when_it_takes_on_the_group_s_role(login: Login, figures: Connection) -> None:
    analyst = login()
    grant_company(figures, analyst.info.user, "acme")
    analyst.execute("SET ROLE analytics_reader")
    assert _seen(analyst) == only("acme")
    analyst.execute("SET analytics.company = 'beta'")
    assert _seen(analyst) == only()


@needs_server
def test_a_grant_of_all_companies_shows_all_and_other_roles_nothing_of_it(login: Login, figures: Connection) -> None:
    auditor, application, other = login(), login(), login()
    grant_company(figures, auditor.info.user, None)
    figures.execute(sql.SQL("GRANT analytics_api TO {}").format(sql.Identifier(application.info.user)))
    assert _seen(auditor) == EVERYBODY
    for connection, visible in ((application, ["gamma"]), (other, [])):
        assert _seen(connection) == only()
        connection.execute("SET analytics.company = 'gamma'")
        assert _seen(connection) == only(*visible)
        assert connection.execute("SELECT * FROM analytics_company_grants").fetchall() == []


@needs_server
def test_whatever_takes_a_grant_away_shows_nothing_instead_of_everything(login: Login, figures: Connection) -> None:
    renamed, remade = login(), login()
    names = [renamed.info.user, remade.info.user]
    for name in names:
        grant_company(figures, name, "acme")
    figures.execute(sql.SQL("ALTER ROLE {0} RENAME TO {1}").format(*map(sql.Identifier, (names[0], f"{names[0]}_x"))))
    try:
        renamed.execute("SET analytics.company = 'acme'")
        assert _seen(renamed) == only()
    finally:
        figures.execute(
            sql.SQL("ALTER ROLE {1} RENAME TO {0}").format(*map(sql.Identifier, (names[0], f"{names[0]}_x")))
        )
    assert _seen(renamed) == only("acme")
    # Dropped and made again: the name is the same, the role is another.
    figures.execute("UPDATE analytics_company_grants SET role_oid = 1 WHERE role_name = %s", [names[1]])
    assert _seen(remade) == only()
    assert [grant.holds for grant in list_grants(figures, names[1])] == [False]
    assert grant_company(figures, names[1], "acme")
    assert _seen(remade) == only("acme")


@needs_server
def test_a_role_that_is_no_reader_sees_nothing_at_all(stranger: Login) -> None:
    connection = stranger()
    connection.execute("SET analytics.company = 'acme'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _seen(connection)


def test_nobody_but_the_owner_calls_our_functions_and_readers_those_that_round(figures: Connection) -> None:
    rows = figures.execute(
        "SELECT proname, has_function_privilege('public', oid, 'EXECUTE'), "
        "has_function_privilege('analytics_reader', oid, 'EXECUTE') "
        "FROM pg_proc WHERE proname LIKE 'analytics\\_%' AND pronamespace = 'public'::regnamespace"
    ).fetchall()
    assert len(rows) > 50
    assert [name for name, everybody, _ in rows if everybody] == []
    readers = {name for name, _, reader in rows if reader}
    rounding = {name for name, *_ in rows if name.startswith("analytics_round_")}
    assert readers == {"analytics_currency_digits", "analytics_is_currency", *rounding}


@needs_server
def test_a_role_that_may_only_log_in_holds_up_neither_closing_nor_rates(stranger: Login) -> None:
    connection = stranger()
    for call in ("analytics_lock_changes(false)", "analytics_lock_changes(true)", "analytics_newest_change()"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for function"):
            connection.execute(f"SELECT {call}")


@needs_server
def test_the_last_grant_takes_the_right_to_read_with_it(login: Login, figures: Connection) -> None:
    """A reader without grants sees nothing."""
    analyst = login()
    name = analyst.info.user
    grant_company(figures, name, "acme")
    assert not grant_company(figures, name, "acme")
    grant_company(figures, name, "beta")
    assert not revoke_company(figures, name, "acme")
    assert _seen(analyst) == only("beta")
    assert revoke_company(figures, name, "beta")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _seen(analyst)
    grant_company(figures, name, "gamma")
    assert _seen(analyst) == only("gamma")


@needs_server
def test_a_grant_that_would_mean_something_else_than_it_says_is_refused(login: Login, figures: Connection) -> None:
    group, member, application, analyst = (login().info.user for _ in range(4))
    for granted, role in ((group, member), ("analytics_api", application), ("pg_read_all_data", analyst)):
        figures.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(granted), sql.Identifier(role)))
    for role, company, words in (
        (group, "acme", f"{group} has the members {member}, who would read by the same grant"),
        (application, "acme", "names the company of its session"),
        (analyst, "acme", "reads all data, and with that every company"),
        ("analytics_reader", "acme", "is a group, not somebody"),
        ("pg_read_all_data", None, "is a group, not somebody"),
        (member, " ", "The company is empty"),
    ):
        with pytest.raises(AnalyticsError, match=words):
            grant_company(figures, role, company)
    assert list_grants(figures) == []


@needs_server
def test_an_owner_that_is_no_superuser_is_bound_too_yet_works(figures: Connection, embedded_home: Path) -> None:
    """Row-level security is forced: only its own policy lets the pipeline read and write."""
    owner = f"analytics_test_{uuid.uuid4().hex[:12]}"
    with empty_database(embedded_home) as url, psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {owner} LOGIN")
        try:
            admin.execute(
                f"CREATE EXTENSION IF NOT EXISTS timescaledb; ALTER DATABASE {admin.info.dbname} OWNER TO {owner}"
            )
            parts = urlsplit(url)
            own_url = urlunsplit(parts._replace(netloc=f"{owner}@{parts.netloc.rpartition('@')[2]}"))
            settings = Settings(home=embedded_home, database_url=SecretStr(own_url), retention="never")
            migrate(settings)
            migrate(settings)
            with connect(settings, autocommit=True) as connection:
                add_event(connection, "2025-01-05T10:00")
                close_figures(connection, days("2025-01-05"))
                owned = connection.execute("SELECT company_id FROM analytics_revenue_metrics ORDER BY 1").fetchall()
                assert owned == [("acme",), (None,)]
                forced = (
                    "SELECT bool_and(relforcerowsecurity AND relrowsecurity) FROM pg_class WHERE relname = ANY (%s)"
                )
                assert fetch_row(connection, forced, [TABLES]) == (True,)
                for table in TABLES:
                    connection.execute(f"DROP POLICY pipeline ON {table}")
                assert _seen(connection) == only()
        finally:
            admin.execute(f"REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP OWNED BY {owner}; DROP ROLE {owner}")


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["access", *arguments])


def test_the_commands_grant_list_and_revoke(role: Callable[[], str], figures: Connection) -> None:
    name = role()
    assert _call("grant", name, "--company", "acme").stdout == f"{name} may read acme.\n"
    assert _call("grant", name, "--company", "acme").stdout == f"{name} may already read acme.\n"
    _call("grant", name, "--all-companies")
    assert _call("list", name).stdout == f"{name}: all companies\n{name}: acme\n"
    listed = json.loads(_call("list", "--json").stdout)
    assert [(each["role"], each["companyId"]) for each in listed] == [(name, None), (name, "acme")]
    assert "no longer read all companies.\n" in _call("revoke", name, "--all-companies").stdout
    assert name not in readers_without_grants(figures)
    assert "analytics_reader is taken from it" in _call("revoke", name, "--company", "acme").stdout
    assert list_grants(figures) == []
    assert _call("list").stdout == "Nobody has grants.\n"


def test_a_superuser_is_bound_by_no_grant(figures: Connection) -> None:
    (name,) = fetch_row(figures, "SELECT rolname FROM pg_roles WHERE rolsuper LIMIT 1")
    with pytest.raises(AnalyticsError, match=f"{name} bypasses row-level security"):
        grant_company(figures, name, "acme")


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["grant", "nobody_at_all", "--company", "acme"], "There is no role nobody_at_all", 2),
        (["grant", "analytics_reader"], "either --company X or --all-companies", 2),
        (["grant", "analytics_reader", "--company", "acme", "--all-companies"], "either --company X or", 2),
        (["revoke", "analytics_reader", "--company", "acme"], "analytics_reader has no grant of acme", 1),
    ],
)
def test_what_can_t_be_granted_is_said_in_a_line(
    figures: Connection, arguments: list[str], message: str, status: int
) -> None:
    result = _call(*arguments)
    assert result.exit_code == status
    assert message in result.stderr
