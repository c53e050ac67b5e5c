"""Failures are told once, recoveries once, and nothing is lost in between."""

from datetime import datetime, timedelta

import pytest

from analytics_pipeline.health.finding import State
from analytics_pipeline.health.mail import mail_delivered
from analytics_pipeline.messages.incidents import (
    DeliveryReport,
    Failure,
    deliver_due,
    open_failures,
    record_failure,
    record_recovery,
)
from analytics_pipeline.messages.notifier import DeliveryUnknown, Message, NotDelivered
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import at

NOON = at("2025-03-05T12:00")
HOUR = timedelta(hours=1)


class Channel:
    """A channel that takes messages, or fails as it is told."""

    name = "a channel"

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.error: Exception | None = None
        self.unreached: str | None = None

    def send(self, message: Message) -> str | None:
        if self.error is not None:
            raise self.error
        self.messages.append(message)
        return self.unreached

    @property
    def subjects(self) -> list[str]:
        return [message.subject.removeprefix("[analytics] ") for message in self.messages]


@pytest.fixture
def connection(database: Database) -> Connection:
    return database.connect(autocommit=True)


@pytest.fixture
def channel() -> Channel:
    return Channel()


def _fail(connection: Connection, when: datetime = NOON, subject: str = "daily_aggregates", **more: str) -> None:
    details = {"error": "boom\nat line 3", "remedy": "mend it", **more}
    record_failure(connection, Failure(source="run", subject=subject, at=when, **details))  # type: ignore[arg-type]


def _states(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT state, count, recovered_at IS NOT NULL FROM analytics_notifications ORDER BY first_at, key"
    ).fetchall()


def _wait(connection: Connection, minutes: int) -> None:
    """Let time pass for everything that waits."""
    connection.execute(
        "UPDATE analytics_notifications SET next_attempt_at = next_attempt_at - %s * interval '1 minute'", [minutes]
    )


def test_an_operator_who_was_not_reached_is_named_though_others_were(connection: Connection, channel: Channel) -> None:
    channel.unreached = "boss@example.com is refused: 550 no such person"
    _fail(connection)
    report = deliver_due(connection, channel)
    assert str(report) == "1 incident told, but boss@example.com is refused: 550 no such person"
    problem = connection.execute("SELECT state, problem FROM analytics_notifications").fetchall()
    assert problem == [("sent", channel.unreached)]
    finding = mail_delivered(connection, get_settings())
    assert (finding.state, finding.summary) == (
        State.WARNING,
        f"The last message to operators did not reach all of them: {channel.unreached}.",
    )
    channel.unreached = None
    _fail(connection, NOON + HOUR, subject="hourly_aggregates")
    deliver_due(connection, channel)
    assert mail_delivered(connection, get_settings()).passed


def test_a_failure_that_goes_on_is_told_once_and_its_recovery_once(connection: Connection, channel: Channel) -> None:
    _fail(connection, NOON, partitions="2025-03-04", link="https://ui/runs/1")
    assert deliver_due(connection, channel) == DeliveryReport(1)
    for hours in (1, 2, 2):
        _fail(connection, NOON + hours * HOUR)
        assert deliver_due(connection, channel) == DeliveryReport(0)
    assert _states(connection) == [("sent", 3, False)]
    assert record_recovery(connection, "run", "daily_aggregates", NOON + 3 * HOUR)
    assert not record_recovery(connection, "run", "daily_aggregates", NOON + 4 * HOUR)
    deliver_due(connection, channel)
    deliver_due(connection, channel)
    assert channel.subjects == ["failed: daily_aggregates", "recovered: daily_aggregates"]
    assert _states(connection) == [("sent", 3, True)]
    failed, recovered = (message.text for message in channel.messages)
    for part in (
        "Partitions: 2025-03-04",
        "Failed since: 2025-03-05 12:00:00 UTC",
        "error: boom\n",
        "mend it",
        "runs/1",
    ):
        assert part in failed
    assert "line 3" not in failed
    assert "3 times, last 2025-03-05 14:00:00 UTC" in recovered
    assert "Works since: 2025-03-05 15:00:00 UTC" in recovered
    assert len({message.id for message in channel.messages}) == 2


def test_reading_the_same_events_again_tells_nothing_again(connection: Connection, channel: Channel) -> None:
    for _ in range(2):
        _fail(connection, NOON)
        _fail(connection, NOON + HOUR)
        record_recovery(connection, "run", "daily_aggregates", NOON + 2 * HOUR)
        deliver_due(connection, channel)
    assert channel.subjects == ["recovered: daily_aggregates"]
    assert _states(connection) == [("sent", 2, True)]


def test_an_old_success_is_no_recovery_and_a_new_failure_is_a_new_incident(
    connection: Connection, channel: Channel
) -> None:
    _fail(connection, NOON)
    assert not record_recovery(connection, "run", "daily_aggregates", NOON - HOUR)
    assert not record_recovery(connection, "policy", "daily_aggregates", NOON + HOUR)
    assert [failure.subject for failure in open_failures(connection, "run")] == ["daily_aggregates"]
    record_recovery(connection, "run", "daily_aggregates", NOON + HOUR)
    _fail(connection, NOON + 2 * HOUR)
    assert _states(connection) == [("pending", 1, True), ("pending", 1, False)]


def test_a_failure_that_returns_after_a_quiet_day_is_news(connection: Connection, channel: Channel) -> None:
    _fail(connection, NOON)
    deliver_due(connection, channel)
    _fail(connection, NOON + 25 * HOUR)
    deliver_due(connection, channel)
    assert channel.subjects == ["failed: daily_aggregates"] * 2
    assert channel.messages[0].id != channel.messages[1].id


def test_what_is_due_together_is_one_message(connection: Connection, channel: Channel) -> None:
    for number in range(60):
        _fail(connection, NOON + number * HOUR, f"job {number}")
    record_recovery(connection, "run", "job 0", NOON + 70 * HOUR)
    assert deliver_due(connection, channel) == DeliveryReport(50)
    assert deliver_due(connection, channel) == DeliveryReport(10)
    assert channel.subjects[0] == "49 failures and 1 recovery, first of job 0"
    assert all(f"Failed: job {number}\n" in channel.messages[0].text for number in range(1, 50))


def test_mail_that_fails_is_tried_again_with_patience(connection: Connection, channel: Channel) -> None:
    _fail(connection)
    channel.error = NotDelivered("451 later")
    assert deliver_due(connection, channel) == DeliveryReport(1, "451 later")
    for minutes in (1, 2, 4, 8, 16, 32, 60, 60):
        _wait(connection, minutes - 1)
        assert deliver_due(connection, channel).incidents == 0, "too early"
        _wait(connection, 1)
        assert deliver_due(connection, channel).incidents == 1
    channel.error = None
    _wait(connection, 60)
    assert deliver_due(connection, channel) == DeliveryReport(1)
    assert channel.subjects == ["failed: daily_aggregates"]
    assert _states(connection) == [("sent", 1, False)]


def test_after_a_week_it_is_given_up_aloud(
    connection: Connection, channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    _fail(connection)
    connection.execute("UPDATE analytics_notifications SET attempts = 169")
    channel.error = NotDelivered("550 nobody here")
    deliver_due(connection, channel)
    assert _states(connection) == [("undelivered", 1, False)]
    assert "Given up telling operators about daily_aggregates: 550 nobody here" in caplog.text
    channel.error = None
    record_recovery(connection, "run", "daily_aggregates", NOON + HOUR)
    deliver_due(connection, channel)
    assert channel.subjects == ["recovered: daily_aggregates"]


def test_a_message_that_may_have_arrived_is_not_sent_again(connection: Connection, channel: Channel) -> None:
    _fail(connection)
    channel.error = DeliveryUnknown("silence")
    deliver_due(connection, channel)
    channel.error = None
    _wait(connection, 600)
    assert deliver_due(connection, channel) == DeliveryReport(0)
    assert _states(connection) == [("unknown", 1, False)]


def test_a_process_killed_while_it_tells_leaves_the_message_due(connection: Connection, channel: Channel) -> None:
    _fail(connection)
    channel.error = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        deliver_due(connection, channel)
    channel.error = None
    assert deliver_due(connection, channel) == DeliveryReport(0), "nobody else takes it meanwhile"
    _wait(connection, 5)
    assert deliver_due(connection, channel) == DeliveryReport(1)


def test_a_recovery_while_the_failure_is_being_told_is_told_too(connection: Connection, channel: Channel) -> None:
    _fail(connection)

    class Slow(Channel):
        def send(self, message: Message) -> None:
            record_recovery(connection, "run", "daily_aggregates", NOON + HOUR)
            channel.send(message)

    deliver_due(connection, Slow())
    deliver_due(connection, channel)
    assert channel.subjects == ["failed: daily_aggregates", "recovered: daily_aggregates"]


def test_no_credentials_and_nothing_unstorable_is_kept(connection: Connection, channel: Channel) -> None:
    _fail(
        connection, subject="job\nof \udc80\0", error="\n  can't reach postgresql://u:secret@host/x password=secret\0"
    )
    deliver_due(connection, channel)
    (message,) = channel.messages
    assert "secret" not in message.text
    assert "can't reach postgresql://host/x" in message.text
    assert connection.execute("SELECT subject FROM analytics_notifications").fetchone() == ("job of \\udc80\\x00",)
