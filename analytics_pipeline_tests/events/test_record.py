"""Recorded events are in the table once, exactly, whichever way the server takes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from analytics_pipeline.events import AnalyticsEvent, RejectedEvent, new_event, record_event, record_events
from analytics_pipeline.timescale.clock import ClockError, database_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.clocks import shift_machine_clock
from analytics_pipeline_tests.conftest import Database

START = datetime(2025, 1, 1, tzinfo=UTC)
MANY = 1_200


class CopyRefusingCursor(psycopg.Cursor[Any]):
    """Stands for a server that refuses COPY FROM STDIN, as the embedded one does."""

    refusals = 0

    @contextmanager
    def copy(self, *_: Any, **__: Any) -> Iterator[psycopg.Copy]:
        type(self).refusals += 1
        raise psycopg.errors.FeatureNotSupported("COPY FROM STDIN is not supported")
        yield


@pytest.fixture(params=["as the server takes it", "COPY refused"])
def connection(request: pytest.FixtureRequest, database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        if request.param == "COPY refused":
            connection.cursor_factory = CopyRefusingCursor
        yield connection


def payments(count: int, *, first: datetime = START, step: timedelta = timedelta(seconds=1)) -> list[AnalyticsEvent]:
    return [
        new_event("acme", f"u{n}", "payment.received", "revenue", n, "EUR", {"n": n}, timestamp=first + n * step)
        for n in range(count)
    ]


def stored(connection: Connection) -> set[tuple[Any, ...]]:
    rows = connection.execute(
        'SELECT event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata::text'
        " FROM analytics_events"
    )
    return set(rows)


@pytest.mark.parametrize("count", [1, MANY])
@pytest.mark.slow
def test_events_are_stored_once_however_often_they_are_recorded(connection: Connection, count: int) -> None:
    events = payments(count)
    assert record_events(events, connection=connection) == count
    assert record_events([*events, *events], connection=connection) == 0
    assert record_events([*events, *payments(1)], connection=connection) == 1
    assert len(stored(connection)) == count + 1


def test_every_character_and_digit_comes_back(connection: Connection) -> None:
    seen = '"quotes" \\N \\ back\\slash ünïcödé \U0001f4b6'
    odd = 'tab\there, "quotes" \\N \\ back\\slash\r\nnew line, ünïcödé \U0001f4b6 \x7f'
    events = [
        new_event(
            f"company {n} {seen}",
            seen,
            f"type {odd}",
            "crypto",
            Decimal("-12345678901234567890.123456789012345678"),
            "BTC",
            {odd: [odd, Decimal("0.10"), 10**99, True, None, {"": 1e-7}]},
            timestamp=START + timedelta(microseconds=n),
        )
        for n in range(MANY)
    ]
    assert record_events(events, connection=connection) == MANY
    row = connection.execute('SELECT * FROM analytics_events ORDER BY "timestamp" DESC LIMIT 1').fetchone()
    assert row is not None
    last = events[-1]
    assert (row[0], row[1], *row[3:9]) == last[:8]
    assert row[9] == {odd: [odd, 0.1, 10**99, True, None, {"": 1e-7}]}
    digits = connection.execute("SELECT DISTINCT metadata -> %s ->> 1 FROM analytics_events", [odd]).fetchall()
    assert digits == [("0.10",)]


def test_both_ways_store_the_same_rows(database: Database) -> None:
    events = payments(MANY)
    with database.connect(autocommit=True) as connection:
        record_events(events, connection=connection)
        copied = stored(connection)
        connection.execute("DELETE FROM analytics_events")
        connection.cursor_factory = CopyRefusingCursor
        record_events(events, connection=connection)
        assert stored(connection) == copied


@pytest.mark.slow
def test_copy_is_tried_once_where_it_is_refused(database: Database) -> None:
    with database.connect() as connection:
        connection.cursor_factory = CopyRefusingCursor
        CopyRefusingCursor.refusals = 0
        assert record_events(payments(50_000), connection=connection) == 50_000
        assert CopyRefusingCursor.refusals == 1


def test_batches_are_committed(database: Database, connection: Connection) -> None:
    record_events(payments(MANY), connection=connection)
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    with database.connect() as other:
        assert len(stored(other)) == MANY


def test_inside_a_transaction_the_caller_commits(connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        record_events(payments(MANY), connection=connection)
        assert record_events(payments(MANY), connection=connection) == MANY
        assert len(stored(connection)) == 2 * MANY
    assert stored(connection) == set()


def test_an_event_that_breaks_a_rule_stores_nothing_of_its_batch(connection: Connection) -> None:
    bad = payments(1)[0]._replace(currency="eur")
    with pytest.raises(RejectedEvent, match="currency 'eur'"):
        record_events([*payments(10), bad], connection=connection)
    assert stored(connection) == set()


def test_a_late_batch_makes_only_its_own_days_stale(connection: Connection) -> None:
    day = timedelta(days=1)
    # Up to the last event's hour, which is where what is stored ends.
    window = Window(START, START + 8 * day)
    record_events(payments(9, step=day), connection=connection)
    connection.commit()
    connection.autocommit = True
    connection.execute("CALL refresh_continuous_aggregate('analytics_event_volume_hourly', NULL, NULL)")
    assert stale_ranges(connection, window, "analytics_event_volume_hourly") == []
    late = payments(1, first=START + 6 * day) + payments(MANY, first=START + 2 * day)
    assert record_events(late, connection=connection) == MANY + 1
    ranges = stale_ranges(connection, window, "analytics_event_volume_hourly")
    days = {moment.date() for stale in ranges for moment in (stale.first, stale.last)}
    assert days == {(START + 2 * day).date(), (START + 6 * day).date()}
    assert all(stale.first.date() == stale.last.date() for stale in ranges)


def test_one_event_is_recorded_on_the_configured_database(database: Database) -> None:
    before = datetime.now(UTC)
    event_id = record_event("acme", "u1", "payment.received", "revenue", "29.33", "EUR", {"n": 1})
    with database.connect() as connection:
        ((stored_id, timestamp, *rest),) = stored(connection)
    assert stored_id == event_id
    assert before <= timestamp <= datetime.now(UTC)
    assert rest == ["acme", "u1", "payment.received", "revenue", Decimal("29.33"), "EUR", '{"n": 1}']


def test_recording_again_under_the_same_id_and_instant_is_harmless(connection: Connection) -> None:
    event_id = uuid4()
    for _ in range(2):
        assert isinstance(
            record_event(
                "acme", None, "user.login", "user_activity", event_id=event_id, timestamp=START, connection=connection
            ),
            UUID,
        )
    assert len(stored(connection)) == 1


def test_a_bad_event_is_refused_before_any_connection_is_opened() -> None:
    with pytest.raises(RejectedEvent, match="has no currency"):
        record_event("acme", "u1", "payment.received", "revenue", 1)


@pytest.mark.parametrize("by", [timedelta(days=2), timedelta(days=-2)], ids=str)
def test_nothing_is_recorded_while_the_clocks_are_more_than_five_minutes_apart(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, by: timedelta
) -> None:
    shift_machine_clock(monkeypatch, by)
    with pytest.raises(ClockError, match="no event is taken"):
        record_events(payments(2), connection=connection)
    assert stored(connection) == set()


def test_the_database_clock_tells_what_lies_in_the_future(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = database_now(connection)
    minute = timedelta(minutes=1)
    shift_machine_clock(monkeypatch, 4 * minute)
    with pytest.raises(RejectedEvent, match="in the future"):
        record_events(payments(1, first=now + 8 * minute), connection=connection)
    assert record_events(payments(1, first=now + 3 * minute), connection=connection) == 1
    shift_machine_clock(monkeypatch, -4 * minute)
    assert record_events(payments(1, first=now + 2 * minute), connection=connection) == 1
