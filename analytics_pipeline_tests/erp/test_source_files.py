"""A source is an SQL file that its user may write: what it may say, and what is wrong with it in one sentence."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg.sql import SQL
from pydantic import SecretStr

from analytics_pipeline.erp.check import check_source
from analytics_pipeline.erp.reader import connect_erp, require_erp_url
from analytics_pipeline.erp.source_files import choose_sources, read_shipped_sources, read_sources
from analytics_pipeline.errors import AnalyticsError, DatabaseUnreachableError
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.sql_files import queries
from analytics_pipeline_tests.erp.example import ExampleErp, invoice
from analytics_pipeline_tests.erp.reading import query, read, recorded, rejected, source

Write = Callable[[str], None]

QUERY = """SELECT number AS source_key, updated_at AS cursor_at, issued_at AS "timestamp", company_id,
    'invoice.created' AS event_type, 'billing' AS category, net_amount AS value, currency
FROM erp.invoices"""


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Write]:
    """Writes the one source of a folder of the user's own, bills.sql."""
    folder = tmp_path / "my sources"
    folder.mkdir()
    monkeypatch.setenv("ANALYTICS_ERP_SOURCES", str(folder))
    get_settings.cache_clear()

    def write(text: str) -> None:
        (folder / "bills.sql").write_text(text, encoding="utf-8")

    yield write
    get_settings.cache_clear()


def test_the_shipped_sources_are_those_of_the_documentation() -> None:
    sources = read_shipped_sources()
    names = ["companies", "crypto_transactions", "invoices", "logins", "payments", "subscription_changes"]
    assert [each.name for each in sources] == names
    assert all(each.description and each.overlap == timedelta(hours=1) for each in sources)
    with pytest.raises(AnalyticsError, match="There is no source 'bills': choose from companies, crypto_transactions"):
        choose_sources(sources, ["bills"])


def test_the_head_of_a_file_describes_it(write: Write) -> None:
    write(f"-- Bills,\n-- also drafts.\n-- overlap: 2 days\n\n-- no description\n{QUERY};\n")
    (bills,) = read_sources(get_settings())
    assert (bills.name, bills.description, bills.overlap) == ("bills", "Bills, also drafts.", timedelta(days=2))


def test_a_users_own_query_is_read(erp: ExampleErp, write: Write) -> None:
    """With per cent signs and braces of SQL, columns left out, and the bounds where grouping needs them."""
    write(
        f"-- Bills\nSELECT * FROM ({QUERY} WHERE number LIKE 'A%' AND '{{1,2}}'::int[] @> ARRAY[1]) AS bill\n"
        "WHERE cursor_at >= %(since)s AND cursor_at < %(until)s -- the end;"
    )
    erp.execute(invoice("A-1"), invoice("B-1"))
    assert (read("bills").new, read("bills").new) == (1, 0)
    assert recorded("company_id, user_id, value::text, metadata") == [("acme", None, "100.00", {})]


def test_a_key_that_two_rows_share_counts_once_and_is_reported(erp: ExampleErp, write: Write) -> None:
    write(QUERY.replace("number AS source_key", "currency AS source_key"))
    erp.execute(invoice("A-1", "1"), invoice("A-2", "2"), invoice("A-3", "1"))
    assert [read("bills").new, read("bills").new] == [1, 0]
    assert [key for _, key, _ in rejected()] == ["EUR"]
    write(QUERY.replace("number AS source_key", "NULL AS source_key"))
    read("bills")
    assert rejected()[0][2] == "source_key is null or blank: make it of the row's primary key."


UNREADABLE = {
    ("net_amount AS value", "net_amount::float AS value"): "value is float8, not numeric: binary fractions lose",
    ("issued_at AS", "issued_at::date AS"): "timestamp is date, not timestamptz: say which zone",
    ("updated_at AS", "updated_at::timestamp AS"): "cursor_at is timestamp, not timestamptz: say which zone",
    ("company_id,", "company_id, number,"): "no event has a column number: move it into metadata",
    ("company_id,", ""): "the column company_id is missing",
    ("company_id,", "company_id, company_id,"): "the column company_id occurs twice: keep one",
    ("company_id,", "company_id, '{}' AS metadata,"): "metadata is text, not jsonb: make it with",
    ("FROM erp.invoices", "FROM erp.bills"): 'bills.sql: relation "erp.bills" does not exist. Fix the query',
    ("number AS", "nextval('erp.invoices_id_seq') AS"): "cannot execute nextval() in a read-only transaction",
}
WITHOUT_EVENTS = {
    ("updated_at AS", "nullif(updated_at, updated_at) AS"): "rows without cursor_at are never read",
    ("'billing'", "'bills'"): "1 of 1 rows that were tried are no events: category 'bills' is unknown",
}


def test_check_says_what_is_wrong_with_a_query(erp: ExampleErp, write: Write) -> None:
    erp.execute(invoice("A-1"))
    write(QUERY)
    with connect_erp(get_settings()) as database:
        assert check_source(database, source("bills")).problems == []
        for change, problem in (UNREADABLE | WITHOUT_EVENTS).items():
            write(QUERY.replace(*change))
            (found,) = check_source(database, source("bills")).problems
            assert problem in found


@pytest.mark.slow
def test_a_run_of_such_a_query_says_the_same_and_records_nothing(erp: ExampleErp, write: Write) -> None:
    erp.execute(invoice("A-1"))
    for failures, (change, problem) in enumerate(UNREADABLE.items(), 1):
        write(QUERY.replace(*change))
        with pytest.raises(AnalyticsError) as raised:
            read("bills")
        assert problem in str(raised.value)
        assert query("SELECT failures, last_error FROM analytics_source_cursors") == [(failures, str(raised.value))]
    assert recorded() == []
    write(QUERY)
    assert read("bills").new == 1
    assert query("SELECT failures, last_error FROM analytics_source_cursors") == [(0, None)]


# What closes our parenthesis, and would go on outside the read-only transaction.
BREAKING_OUT = "SELECT 1) AS source; COMMIT; DELETE FROM erp.invoices; SELECT * FROM ("


@pytest.mark.parametrize(
    "text",
    [
        BREAKING_OUT + QUERY,
        f"{QUERY}) AS source; ROLLBACK; DELETE FROM erp.invoices; SELECT 1 --",
        f"{QUERY}; DELETE FROM erp.invoices",
        f"{QUERY} WHERE cursor_at >= %(since)s) AS source; COMMIT; DELETE FROM erp.invoices; SELECT * FROM (SELECT 1",
    ],
)
def test_a_query_cannot_write_to_the_erp(erp: ExampleErp, write: Write, text: str) -> None:
    erp.execute(invoice("A-1"))
    write(text)
    with connect_erp(get_settings()) as database:
        assert check_source(database, source("bills")).problems
        assert _invoices(erp) == 1
        for name, query in queries().items():
            if name.startswith("erp_") and "{source}" in query:
                with pytest.raises(AnalyticsError, match=r"bills\.sql: "):
                    database.read_source(source("bills"), name, columns=SQL("*"), after_key="")
    with pytest.raises(
        AnalyticsError, match=r"(A source is one query: take the other statements|syntax error at or near)"
    ):
        read("bills")
    assert _invoices(erp) == 1


def test_a_query_that_writes_by_itself_is_refused_by_the_server(erp: ExampleErp, write: Write) -> None:
    erp.execute(invoice("A-1"))
    for text in (
        "WITH gone AS (DELETE FROM erp.invoices RETURNING *) SELECT * FROM gone",
        QUERY.replace("number AS", "set_config('transaction_read_only', 'off', true) AS"),
        QUERY.replace("number AS", "query_to_xml('DELETE FROM erp.invoices', true, true, '')::text AS"),
    ):
        write(text)
        with connect_erp(get_settings()) as database:
            assert check_source(database, source("bills")).problems
    assert _invoices(erp) == 1


def _invoices(erp: ExampleErp) -> int:
    with erp.connect() as connection:
        return len(connection.execute("SELECT FROM erp.invoices").fetchall())


@pytest.mark.faults
def test_a_query_that_takes_too_long_is_told_what_to_do(
    erp: ExampleErp, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(QUERY.replace("company_id,", "company_id || pg_sleep(10) AS company_id,"))
    erp.execute(invoice("A-1"))
    with connect_erp(get_settings()) as database, pytest.raises(AnalyticsError, match="put an index on the column"):
        database.read_source(source("bills"), "erp_first", seconds=1)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("Bills.sql", QUERY, "can't name a source: use small letters"),
        ("bills.sql", "-- overlap: some time\n" + QUERY, "the overlap 'some time' must look like '30 minutes'"),
        ("bills.txt", QUERY, "holds no SQL file"),
    ],
)
def test_a_file_that_is_no_source_is_named(tmp_path: Path, name: str, text: str, problem: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(AnalyticsError, match=problem):
        read_sources(Settings(erp_sources=str(tmp_path)))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnalyticsError, match=r"Can't read the folder .*none: No such file.*ANALYTICS_ERP_SOURCES"):
        read_sources(Settings(erp_sources=str(tmp_path / "none")))


def test_without_an_erp_it_is_said_what_to_set() -> None:
    with pytest.raises(AnalyticsError, match="ANALYTICS_ERP_URL is not set: set it to the URL"):
        require_erp_url(Settings(erp_url=None))


def test_an_erp_that_cannot_be_reached_is_named_without_its_password() -> None:
    url = SecretStr("postgresql://reader:hunter2@127.0.0.1:1/books")
    with pytest.raises(DatabaseUnreachableError) as raised, connect_erp(Settings(erp_url=url)):
        pass
    assert "hunter" not in str(raised.value)
    assert "127.0.0.1:1/books" in str(raised.value)
    assert "ANALYTICS_ERP_URL" in str(raised.value)
