"""Rows that an earlier release stored stay what they were, once every message goes through the outbox."""

from collections.abc import Iterator

import pytest

from analytics_pipeline.sql_files import list_sql, load_sql
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import Database

BEFORE = ("notifications", "report_mail", "alerts", "outbox_order", "corrected_documents", "report_delivery")
SINCE = ("message_channels", "failure_messages", "recipient_channels")


@pytest.fixture
def earlier(database: Database) -> Iterator[Connection]:
    """A connection to tables as an earlier release had them, in a schema of their own, until it is rolled back."""
    with database.connect() as connection:
        connection.execute("CREATE SCHEMA earlier")
        connection.execute("SET LOCAL search_path = earlier, public")
        _run(connection, BEFORE)
        yield connection
        connection.rollback()


def _run(connection: Connection, names: tuple[str, ...]) -> None:
    for name in names:
        (path,) = [path for path in list_sql("migrations") if path.partition("_")[2] == f"{name}.sql"]
        connection.execute(load_sql(path).encode())


def test_failures_and_what_was_not_delivered_of_them_are_kept(earlier: Connection) -> None:
    for state, recovered in (("pending", None), ("sent", None), ("unknown", None), ("undelivered", "2025-01-02")):
        earlier.execute(
            "INSERT INTO analytics_notifications (key, source, subject, state, first_at, last_at, recovered_at, "
            "sent_at, error, remedy, attempts, problem) VALUES (%(s)s, 'run', %(s)s, %(s)s, '2025-01-01', "
            "'2025-01-01', %(r)s, '2025-01-02', 'boom', 'fix', 3, 'no')",
            {"s": state, "r": recovered},
        )
    _run(earlier, SINCE)
    rows = earlier.execute("SELECT key, state FROM analytics_notifications ORDER BY key").fetchall()
    assert rows == [("pending", "pending"), ("sent", "enqueued"), ("undelivered", "enqueued"), ("unknown", "enqueued")]
    left = earlier.execute(
        "SELECT kind, channel, state, subject, attempts, problem FROM analytics_outbox ORDER BY outbox_id"
    ).fetchall()
    assert sorted(left) == [
        ("failure", "log", "failed", "[analytics] recovered: undelivered", 3, "no"),
        ("failure", "log", "unknown", "[analytics] failed: unknown", 3, "no"),
    ]


def test_messages_and_recipients_are_of_the_channel_they_were_of(earlier: Connection) -> None:
    earlier.execute(
        "INSERT INTO analytics_outbox (kind, channel, dedupe_key, target, subject, text_body) VALUES "
        "('alert', 'mail', 'a', 'A@x.com', 's', 't'), ('alert', 'webhook', 'b', 'ops', 's', '{}')"
    )
    earlier.execute("INSERT INTO analytics_report_recipients (report, address) VALUES ('monthly_report', 'A@x.com')")
    _run(earlier, SINCE)
    rows = earlier.execute("SELECT channel, target, state FROM analytics_outbox ORDER BY outbox_id").fetchall()
    assert rows == [("mail", "A@x.com", "pending"), ("webhook", "ops", "pending")]
    query = "SELECT channel, address, address_key, format FROM analytics_report_recipients"
    assert earlier.execute(query).fetchall() == [("mail", "A@x.com", "a@x.com", "pdf")]
    insert = "INSERT INTO analytics_report_recipients (report, channel, address) VALUES ('monthly_report', %s, %s) "
    earlier.execute(f"{insert} ON CONFLICT (report, audience, address_key) DO NOTHING".encode(), ["mail", "a@X.com"])
    earlier.execute(insert.encode(), ["slack", "ops"])
    earlier.execute(insert.encode(), ["teams", "ops"])
    assert [key for _, _, key, _ in earlier.execute(f"{query} ORDER BY 3")] == ["a@x.com", "slack:ops", "teams:ops"]
