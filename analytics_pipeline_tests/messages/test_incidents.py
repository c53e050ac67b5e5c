"""Operators are notified of failures once, of recoveries once, and nothing is lost in between."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from analytics_pipeline.messages import incidents
from analytics_pipeline.messages.addresses import parse_addresses
from analytics_pipeline.messages.decisions import list_messages
from analytics_pipeline.messages.incidents import (
    Failure,
    enqueue_due,
    open_failures,
    record_failure,
    record_recovery,
)
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events_factory import at
from analytics_pipeline_tests.messages.conftest import Send, pass_time, states
from analytics_pipeline_tests.messages.mail_catcher import Catcher

NOON = at("2025-03-05T12:00")
HOUR = timedelta(hours=1)
OPERATORS = parse_addresses(["ops@example.com"])
BOTH = parse_addresses(["mail:ops@example.com", "pagerduty:ops"])

Notify = Callable[[], list[str]]


@pytest.fixture
def notify(connection: Connection, send: Send, catcher: Catcher) -> Notify:
    """Put in what is due, send it, and return the subjects of the mails that arrived by that."""

    def _notify() -> list[str]:
        before = len(catcher.mails)
        enqueue_due(connection, OPERATORS)
        send()
        return [str(mail["Subject"]).removeprefix("[analytics] ") for mail in catcher.mails[before:]]

    return _notify


def _fail(connection: Connection, when: datetime = NOON, subject: str = "daily_aggregates", **more: str) -> None:
    details = {"error": "boom\nat line 3", "remedy": "fix it", **more}
    record_failure(connection, Failure(source="run", subject=subject, at=when, **details))  # type: ignore[arg-type]


def _recorded(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT state, count, recovered_at IS NOT NULL FROM analytics_notifications ORDER BY first_at, key"
    ).fetchall()


def _bodies(connection: Connection, channel: str) -> list[Any]:
    query = "SELECT text_body FROM analytics_outbox WHERE channel = %s ORDER BY outbox_id"
    return [json.loads(body) for (body,) in connection.execute(query, [channel])]


def test_a_failure_that_goes_on_is_a_message_once_and_its_recovery_once(
    connection: Connection, notify: Notify, catcher: Catcher
) -> None:
    _fail(connection, NOON, partitions="2025-03-04", link="https://ui/runs/1")
    assert notify() == ["failed: daily_aggregates"]
    for hours in (1, 2, 2):
        _fail(connection, NOON + hours * HOUR)
        assert notify() == []
    assert _recorded(connection) == [("enqueued", 3, False)]
    assert record_recovery(connection, "run", "daily_aggregates", NOON + 3 * HOUR)
    assert not record_recovery(connection, "run", "daily_aggregates", NOON + 4 * HOUR)
    assert notify() == ["recovered: daily_aggregates"]
    assert notify() == []
    assert _recorded(connection) == [("enqueued", 3, True)]
    texts = [mail.get_body(("plain",)) for mail in catcher.mails]
    failed, recovered = (str(text and text.get_content()).replace("\r\n", "\n") for text in texts)
    for part in (
        "Partitions: 2025-03-04",
        "Failed since: 2025-03-05 12:00:00 UTC",
        "error: boom\n",
        "fix it",
        "runs/1",
    ):
        assert part in failed
    assert "line 3" not in failed
    assert "3 times, last 2025-03-05 14:00:00 UTC" in recovered
    assert "Works since: 2025-03-05 15:00:00 UTC" in recovered
    assert len({mail["Message-ID"] for mail in catcher.mails}) == 2


def test_reading_the_same_events_again_is_no_other_message(connection: Connection, notify: Notify) -> None:
    arrived = []
    for _ in range(2):
        _fail(connection, NOON)
        _fail(connection, NOON + HOUR)
        record_recovery(connection, "run", "daily_aggregates", NOON + 2 * HOUR)
        arrived += notify()
    assert arrived == ["recovered: daily_aggregates"]
    assert _recorded(connection) == [("enqueued", 2, True)]


def test_an_old_success_is_no_recovery_and_a_new_failure_is_a_new_incident(connection: Connection) -> None:
    _fail(connection, NOON)
    assert not record_recovery(connection, "run", "daily_aggregates", NOON - HOUR)
    assert not record_recovery(connection, "policy", "daily_aggregates", NOON + HOUR)
    assert [failure.subject for failure in open_failures(connection, "run")] == ["daily_aggregates"]
    record_recovery(connection, "run", "daily_aggregates", NOON + HOUR)
    _fail(connection, NOON + 2 * HOUR)
    assert _recorded(connection) == [("pending", 1, True), ("pending", 1, False)]


def test_a_failure_that_returns_after_a_quiet_day_is_news(
    connection: Connection, notify: Notify, catcher: Catcher
) -> None:
    _fail(connection, NOON)
    assert notify() == ["failed: daily_aggregates"]
    _fail(connection, NOON + 25 * HOUR)
    assert notify() == ["failed: daily_aggregates"]
    assert len({mail["Message-ID"] for mail in catcher.mails}) == 2


def test_what_is_due_together_is_one_message_and_an_event_each_where_incidents_are_opened_and_closed(
    connection: Connection,
) -> None:
    for number in range(60):
        _fail(connection, NOON + number * HOUR, f"job {number}")
    record_recovery(connection, "run", "job 0", NOON + 70 * HOUR)
    assert enqueue_due(connection, BOTH) == 60
    assert enqueue_due(connection, BOTH) == 0
    mails = connection.execute(
        "SELECT subject, text_body FROM analytics_outbox WHERE channel = 'mail' ORDER BY outbox_id"
    ).fetchall()
    assert [subject for subject, _ in mails] == [
        "[analytics] 49 failures and 1 recovery, first of job 0",
        "[analytics] 10 failures, first of job 50",
    ]
    assert all(f"Failed: job {number}\n" in mails[0][1] for number in range(1, 50))
    events = _bodies(connection, "pagerduty")
    assert [event["event_action"] for event in events] == ["resolve"] + ["trigger"] * 59
    assert len({event["dedup_key"] for event in events}) == 60


def test_the_end_of_a_failure_closes_what_its_beginning_opened(connection: Connection) -> None:
    _fail(connection)
    enqueue_due(connection, BOTH)
    record_recovery(connection, "run", "daily_aggregates", NOON + HOUR)
    enqueue_due(connection, BOTH)
    trigger, resolve = _bodies(connection, "pagerduty")
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert trigger["payload"]["summary"] == "[analytics] failed: daily_aggregates"
    assert (trigger["payload"]["source"], trigger["payload"]["severity"]) == ("daily_aggregates", "error")


def test_a_recovery_never_overtakes_the_failure(
    connection: Connection, notify: Notify, catcher: Catcher, send: Send
) -> None:
    _fail(connection)
    catcher.data_answer = "451 later"
    assert notify() == []
    catcher.data_answer = None
    record_recovery(connection, "run", "daily_aggregates", NOON + HOUR)
    assert notify() == []
    waiting = [message.problem for message in list_messages(connection)]
    assert waiting[0] == "waits for an earlier message about the same failure"
    assert "451 later" in str(waiting[1])
    pass_time(connection, 5)
    assert send().sent == 2
    assert ["recovered" in str(mail["Subject"]) for mail in catcher.mails] == [False, True]


def test_each_operator_has_a_message_so_one_who_is_refused_keeps_nobody_in_the_dark(
    connection: Connection, send: Send, catcher: Catcher
) -> None:
    catcher.refused["boss@example.com"] = "550 no such person"
    _fail(connection)
    enqueue_due(connection, parse_addresses(["boss@example.com", "ops@example.com"]))
    report = send()
    assert (report.sent, report.failed) == (1, 1)
    failed = list_messages(connection, state="failed")
    assert [(message.target, "550 no such person" in str(message.problem)) for message in failed] == [
        ("boss@example.com", True)
    ]


def test_a_message_is_put_in_with_the_note_that_it_is_or_not_at_all(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail(connection)

    def lost(*_: object) -> None:
        raise psycopg.OperationalError("the server closed the connection")

    with monkeypatch.context() as broken:
        broken.setattr(incidents, "enqueue_incidents", lost)
        with pytest.raises(psycopg.OperationalError):
            enqueue_due(connection, OPERATORS)
    assert (_recorded(connection), states(connection)) == ([("pending", 1, False)], [])
    assert enqueue_due(connection, OPERATORS) == 1
    assert states(connection) == ["pending"]


@pytest.mark.skipif(SERVER_URL is None, reason="needs several connections at once")
def test_two_that_notice_at_once_put_in_one_message(connection: Connection, database: Database) -> None:
    for number in range(20):
        _fail(connection, NOON, f"job {number}")

    def put_in(_: int) -> int:
        with database.connect(autocommit=True) as own:
            return enqueue_due(own, OPERATORS)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(put_in, range(4))) == 20
    named = "".join(body for (body,) in connection.execute("SELECT text_body FROM analytics_outbox"))
    assert [named.count(f"Failed: job {number}\n") for number in range(20)] == [1] * 20


def test_no_credentials_and_nothing_unstorable_is_kept(
    connection: Connection, notify: Notify, catcher: Catcher
) -> None:
    _fail(
        connection, subject="job\nof \udc80\0", error="\n  can't reach postgresql://u:secret@host/x password=secret\0"
    )
    notify()
    (mail,) = catcher.mails
    assert "secret" not in mail.as_string()
    assert "can't reach postgresql://host/x" in str(mail.get_body(("plain",)))
    assert connection.execute("SELECT subject FROM analytics_notifications").fetchone() == ("job of \\udc80\\x00",)


def test_an_error_is_no_markup(connection: Connection, notify: Notify, catcher: Catcher) -> None:
    _fail(connection, error="<script>alert(1)</script>", subject="<b>job</b>")
    notify()
    html = catcher.mails[0].get_body(("html",))
    assert html is not None
    assert "<script>" not in html.get_content()
    assert "&lt;b&gt;job&lt;/b&gt;" in html.get_content()
