"""A record that contradicts a stored event changes nothing without a word: both are kept, and somebody decides."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner

from analytics_pipeline.cli.ingest import SOME_REJECTED
from analytics_pipeline.cli.ingest import ingest as ingest_command
from analytics_pipeline.cli.ingest import record as record_command
from analytics_pipeline.events import (
    AnalyticsEvent,
    OnConflict,
    RejectedEvent,
    new_event,
    parse_event,
    record_event,
    record_events,
)
from analytics_pipeline.events import ingest as ingest_module
from analytics_pipeline.events.bulk_load import EventLoader
from analytics_pipeline.events.contradictions import CONTRADICTED
from analytics_pipeline.events.ingest import IngestSummary, ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment, subscription
from analytics_pipeline_tests.events.test_record import MANY, CopyRefusingCursor, payments

pytestmark = pytest.mark.slow

RUNNER = CliRunner()
DATA = Path(__file__).parent / "data"
START = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["as the server takes it", "COPY refused"])
def connection(request: pytest.FixtureRequest, database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        if request.param == "COPY refused":
            connection.cursor_factory = CopyRefusingCursor
        yield connection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


def values(connection: Connection) -> list[str]:
    return [value for (value,) in rows(connection, 'SELECT value::text FROM analytics_events ORDER BY "timestamp"')]


def conflicts(connection: Connection) -> list[tuple[Any, ...]]:
    return rows(
        connection,
        "SELECT stored ->> 'value', sent ->> 'value', outcome FROM analytics_event_conflicts ORDER BY found_at, 1, 2",
    )


def ingest_raws(
    connection: Connection, folder: Path, *raws: dict[str, Any], on_conflict: OnConflict = OnConflict.REJECT
) -> IngestSummary:
    path = folder / "events.jsonl"
    path.write_text(json_lines(raws))
    return ingest([Source.of(path)], connection, rejects_path=folder / "rejects.jsonl", on_conflict=on_conflict)


def test_the_three_records_of_the_case(database: Database, folder: Path) -> None:
    """120.00 is stored once; 12.00 for the same event is a conflict; another instant is another event."""
    results = []
    for number in (1, 2, 3):
        arguments = [str(DATA / f"conflict_{number}.jsonl"), "--json", "--rejects", str(folder / f"{number}.jsonl")]
        results.append(RUNNER.invoke(ingest_command, arguments, catch_exceptions=False))
    figures = [json.loads(result.stdout) for result in results]
    assert [result.exit_code for result in results] == [0, SOME_REJECTED, 0]
    assert [(each["new"], each["alreadyThere"], each["conflicts"], each["rejected"]) for each in figures] == [
        (1, 0, 0, 0),
        (0, 0, 1, 1),
        (1, 0, 0, 0),
    ]
    assert figures[1]["reasons"] == {CONTRADICTED: 1}
    (kept,) = [json.loads(line) for line in (folder / "2.jsonl").read_text().splitlines()]
    assert (kept["line"], json.loads(kept["stored"])["value"], json.loads(kept["record"])["value"]) == (1, 120.00, 12.0)
    assert "with value '120.00', and this record says '12.00'" in kept["reason"]
    with database.connect(autocommit=True) as connection:
        assert values(connection) == ["120.00", "120.00"]
        assert conflicts(connection) == [("120.00", "12.00", "open")]
        assert rows(connection, "SELECT kind, company_id, line_number FROM analytics_ingest_rejects") == [
            (CONTRADICTED, "c1", 1)
        ]
        (kept_from,) = rows(connection, "SELECT source, line_number, company_id FROM analytics_event_conflicts")
        assert kept_from == (str(DATA / "conflict_2.jsonl"), 1, "c1")


@pytest.mark.parametrize(
    "change",
    [
        {"value": "29.34"},
        {"value": None, "event_type": "payment.disputed"},
        {"user_id": "u-2"},
        {"user_id": None},
        {"event_type": "payment.disputed"},
        {"currency": "USD"},
        {"metadata": {"method": "cash"}},
        {"metadata": {"method": "card", "more": None}},
        {"metadata": {}},
        {"metadata": {"method": True}},
        {"event_type": "user.login", "category": "user_activity"},
    ],
)
def test_every_column_can_contradict(connection: Connection, folder: Path, change: dict[str, Any]) -> None:
    stored = payment()
    assert ingest_raws(connection, folder, stored).new == 1
    summary = ingest_raws(connection, folder, {**stored, **change})
    assert (summary.new, summary.already_there, summary.conflicts, summary.rejected) == (0, 0, 1, 1)
    ((before, after, differing),) = rows(
        connection,
        "SELECT stored, sent, (SELECT array_agg(key ORDER BY key) FROM jsonb_each(stored) AS s "
        "WHERE s.value IS DISTINCT FROM sent -> key) FROM analytics_event_conflicts",
    )
    assert before["event_id"] == after["event_id"] == stored["event_id"]
    assert set(differing) == set(change)


@pytest.mark.parametrize(
    "change",
    [
        {"value": "29.330"},
        {"value": 29.33},
        {"value": Decimal("2933E-2")},
        {"timestamp": "2025-02-01T00:59:59+01:00"},
        {"metadata": {"b": [1, {"c": 2.50}], "a": 1.0}},
    ],
)
def test_what_means_the_same_is_already_there(connection: Connection, folder: Path, change: dict[str, Any]) -> None:
    stored = payment(metadata={"a": 1, "b": [1.0, {"c": Decimal("2.5")}]})
    event = parse_event(stored)
    assert EventLoader(connection).load([event]).new == 1
    again = EventLoader(connection).load([parse_event({**stored, **change})])
    assert (again.new, again.refused) == (0, [])


def test_absent_and_empty_metadata_are_the_same(connection: Connection, folder: Path) -> None:
    stored = payment(metadata=...)
    for raw in (stored, {**stored, "metadata": None}, {**stored, "metadata": {}}):
        assert ingest_raws(connection, folder, raw).conflicts == 0
    assert values(connection) == ["29.33"]


@pytest.mark.parametrize("others", [0, MANY])
def test_within_a_file_the_first_record_of_an_event_counts(connection: Connection, folder: Path, others: int) -> None:
    first = payment(value="120.00")
    raws = [payment(value="1.00") for _ in range(others)]
    raws[others // 2 : 0] = [first, {**first, "value": "12.00"}, first, {**first, "value": "12.00"}]
    for new in (others + 1, 0):
        summary = ingest_raws(connection, folder, *raws)
        assert (summary.new, summary.conflicts, summary.already_there) == (new, 2, others + 2 - new)
    assert sorted(set(values(connection))) == ["1.00", "120.00"] if others else ["120.00"]
    assert conflicts(connection) == [("120.00", "12.00", "open")]


def test_across_batches_too(connection: Connection, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_EVENTS", 2)
    stored = payment(value="120.00")
    raws = [stored, payment(), payment(), {**stored, "value": "12.00"}, payment(), {**stored, "value": "7.00"}]
    summary = ingest_raws(connection, folder, *raws)
    assert (summary.new, summary.conflicts) == (4, 2)
    assert conflicts(connection) == [("120.00", "12.00", "open"), ("120.00", "7.00", "open")]
    lines = rows(connection, "SELECT line_number FROM analytics_ingest_rejects ORDER BY 1")
    assert lines == [(4,), (6,)]


@pytest.mark.parametrize("others", [0, MANY])
def test_an_id_that_another_company_holds_is_rejected_without_a_word_about_it(
    connection: Connection, folder: Path, others: int
) -> None:
    theirs = payment(company_id="secret-company", value="4711.00", user_id="secret-user", metadata={"secret": 1})
    ingest_raws(connection, folder, theirs)
    ours = {**theirs, "company_id": "acme", "user_id": "u-1", "value": "1.00", "metadata": {}}
    more = [payment() for _ in range(others)]
    for on_conflict in OnConflict:
        summary = ingest_raws(connection, folder, *more, ours, on_conflict=on_conflict)
        assert (summary.rejected, summary.conflicts, summary.replaced) == (1, 0, 0)
        assert summary.reasons == {"event_id can't be used": 1}
    assert rows(connection, "SELECT * FROM analytics_event_conflicts") == []
    kept = (folder / "rejects.jsonl").read_text()
    ((reason, record),) = rows(connection, "SELECT reason, record FROM analytics_ingest_rejects")
    for text in (kept, reason, record):
        assert "secret" not in text
        assert "4711" not in text
    assert "choose another one" in reason
    assert rows(connection, "SELECT count(*) FROM analytics_events WHERE company_id = 'secret-company'") == [(1,)]
    with pytest.raises(RejectedEvent, match="can't be used") as refusal:
        record_event(
            "acme",
            None,
            "user.login",
            "user_activity",
            event_id=ours["event_id"],
            timestamp=ours["timestamp"],
            connection=connection,
        )
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("others", [0, MANY])
def test_replace_takes_the_record_and_keeps_both_values(connection: Connection, folder: Path, others: int) -> None:
    stored = payment(value="120.00")
    more = [payment(value="1.00") for _ in range(others)]
    ingest_raws(connection, folder, stored, *more)
    right = {**stored, "value": "12.00", "user_id": "u-9", "metadata": {"n": 1.5}}
    assert ingest_raws(connection, folder, right, *more).conflicts == 1
    arrivals = "SELECT ingested_at FROM analytics_events WHERE event_id = %s"
    arrived = connection.execute(arrivals, [stored["event_id"]]).fetchall()
    summary = ingest_raws(connection, folder, right, *more, on_conflict=OnConflict.REPLACE)
    assert (summary.replaced, summary.rejected, summary.already_there) == (1, 0, others)
    ((value, user, metadata),) = rows(
        connection, "SELECT value::text, user_id, metadata FROM analytics_events WHERE user_id = 'u-9'"
    )
    assert (value, user, metadata) == ("12.00", "u-9", {"n": 1.5})
    # Its place among changes of the same instant stays.
    assert connection.execute(arrivals, [stored["event_id"]]).fetchall() == arrived
    # The one that was open is settled by it, and repeating it changes nothing.
    assert conflicts(connection) == [("120.00", "12.00", "replaced")]
    again = ingest_raws(connection, folder, right, *more, on_conflict=OnConflict.REPLACE)
    assert (again.replaced, again.already_there) == (0, others + 1)
    ((source, line, decided),) = rows(
        connection, "SELECT source, line_number, decided_at IS NOT NULL FROM analytics_event_conflicts"
    )
    assert (source, line, decided) == (str(folder / "events.jsonl"), 1, True)
    # What was replaced contradicts in its turn; and a record that came back is open again.
    assert ingest_raws(connection, folder, stored).conflicts == 1
    assert conflicts(connection) == [("120.00", "12.00", "replaced"), ("12.00", "120.00", "open")]


@pytest.mark.parametrize("others", [0, MANY])
@pytest.mark.parametrize("stored", ["1.00", "2.00", "3.00", "7.00", None])
def test_of_several_replacements_in_a_file_the_last_one_counts(
    connection: Connection, folder: Path, stored: str | None, others: int
) -> None:
    event = payment()
    if stored is not None:
        ingest_raws(connection, folder, {**event, "value": stored})
    versions = [{**event, "value": value} for value in ("1.00", "2.00", "1.00", "3.0", "3.00")]
    more = [payment(value="9.00") for _ in range(others)]
    everything = "SELECT * FROM analytics_event_conflicts ORDER BY stored"
    summary = ingest_raws(connection, folder, *more, *versions, on_conflict=OnConflict.REPLACE)
    replaced = {"1.00", "2.00", "7.00"} & {stored}
    assert (summary.new, summary.replaced, summary.rejected) == (others + (stored is None), len(replaced), 0)
    assert set(values(connection)) - {"9.00"} == {"3.00"}
    kept = rows(connection, everything)
    assert set(conflicts(connection)) == {(value, "3.00", "replaced") for value in {"1.00", "2.00"} | replaced}
    assert len(kept) == len({"1.00", "2.00"} | replaced)
    # Repeating the file changes nothing, not even when it was decided.
    again = ingest_raws(connection, folder, *more, *versions, on_conflict=OnConflict.REPLACE)
    assert (again.new, again.replaced, again.rejected) == (0, 0, 0)
    assert set(values(connection)) - {"9.00"} == {"3.00"}
    assert rows(connection, everything) == kept


def test_across_batches_the_last_record_counts_too(
    connection: Connection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_EVENTS", 2)
    event = payment()
    versions = [{**event, "value": value} for value in ("1.00", "2.00", "1.00", "3.00")]
    for _ in range(2):
        ingest_raws(connection, folder, *versions, on_conflict=OnConflict.REPLACE)
        assert values(connection) == ["3.00"]


def test_replacing_settles_what_the_same_file_left_open(connection: Connection, folder: Path) -> None:
    event = payment()
    versions = [{**event, "value": value} for value in ("1.00", "2.00", "3.00")]
    ingest_raws(connection, folder, *versions)
    assert conflicts(connection) == [("1.00", "2.00", "open"), ("1.00", "3.00", "open")]
    ingest_raws(connection, folder, *versions, on_conflict=OnConflict.REPLACE)
    assert set(conflicts(connection)) == {
        ("1.00", "2.00", "replaced"),
        ("1.00", "3.00", "replaced"),
        ("2.00", "3.00", "replaced"),
    }


def test_a_replaced_record_tells_metadata_apart_as_json_does(connection: Connection, folder: Path) -> None:
    """True is not 1, though Python says so."""
    event = payment()
    versions = [{**event, "metadata": {"paid": value}} for value in (1, True)]
    for _ in range(2):
        assert ingest_raws(connection, folder, *versions, on_conflict=OnConflict.REPLACE).replaced == 0
        assert rows(connection, "SELECT metadata -> 'paid' IS NOT DISTINCT FROM 'true' FROM analytics_events") == [
            (True,)
        ]
    stated = "SELECT (stored -> 'metadata')::text, (sent -> 'metadata')::text, outcome FROM analytics_event_conflicts"
    assert rows(connection, stated) == [('{"paid": 1}', '{"paid": true}', "replaced")]


FORMS = ("12.00", "12", "12.0", "1.2e1")


@pytest.mark.parametrize("batch", [1, 100])
def test_one_contradiction_in_several_forms_of_its_numbers_is_one(
    connection: Connection, folder: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(ingest_module, "BATCH_EVENTS", batch)
    stored = payment(value="120.00", metadata={"n": 1})
    ingest_raws(connection, folder, stored)
    wrong = [{**stored, "value": value, "metadata": {"n": n}} for value in FORMS for n in (1, 1.0)]
    assert ingest_raws(connection, folder, *wrong).conflicts == len(wrong)
    assert conflicts(connection) == [("120.00", "12.00", "open")]


@pytest.mark.parametrize("form", FORMS)
def test_a_decision_to_keep_the_event_stays_whatever_form_the_record_comes_in(
    connection: Connection, folder: Path, form: str
) -> None:
    stored = payment(value="120.00")
    ingest_raws(connection, folder, stored)
    ingest_raws(connection, folder, {**stored, "value": "12.00"})
    connection.execute("UPDATE analytics_event_conflicts SET outcome = 'kept', decided_at = now()")
    assert ingest_raws(connection, folder, {**stored, "value": form}).conflicts == 1
    assert conflicts(connection) == [("120.00", "12.00", "kept")]


def test_a_replacement_makes_stale_what_was_closed_over_it_and_nothing_else(connection: Connection) -> None:
    day = timedelta(days=1)
    window = Window(START, START + 8 * day)
    events = payments(9, step=day)
    record_events(events, connection=connection)
    for aggregate in ("analytics_revenue_hourly", "analytics_user_activity_daily"):
        connection.execute(f"CALL refresh_continuous_aggregate('{aggregate}', NULL, NULL)")
        assert stale_ranges(connection, window, aggregate) == []
    changed = [events[n]._replace(value=Decimal("7.00"), user_id="moved") for n in (2, 5)]
    assert record_events(changed, connection=connection, on_conflict=OnConflict.REPLACE) == 0
    for aggregate in ("analytics_revenue_hourly", "analytics_user_activity_daily"):
        ranges = stale_ranges(connection, window, aggregate)
        assert {(stale.first.date(), stale.last.date()) for stale in ranges} == {
            ((START + n * day).date(),) * 2 for n in (2, 5)
        }
    # A refused one leaves nothing stale.
    connection.execute("CALL refresh_continuous_aggregate('analytics_revenue_hourly', NULL, NULL)")
    with pytest.raises(RejectedEvent, match="is stored with value"):
        record_events([events[3]._replace(value=Decimal("7.00"))], connection=connection)
    assert stale_ranges(connection, window, "analytics_revenue_hourly") == []


def compress(connection: Connection, first: AnalyticsEvent, companies: int, each: int) -> None:
    """Store events of other companies around an event, and compress them all."""
    connection.execute(
        'INSERT INTO analytics_events (event_id, "timestamp", company_id, event_type, category, value, currency) '
        "SELECT gen_random_uuid(), %(start)s::timestamptz + (e - %(each)s / 2) * interval '1 second', 'company ' || c, "
        "'payment.received', 'revenue', 1, 'EUR' "
        "FROM generate_series(1, %(companies)s) AS c, generate_series(1, %(each)s) AS e",
        {"start": first.timestamp, "companies": companies, "each": each},
    )
    connection.execute("SELECT compress_chunk(c) FROM show_chunks('analytics_events') AS c")
    assert rows(
        connection,
        "SELECT DISTINCT is_compressed FROM timescaledb_information.chunks WHERE hypertable_name = 'analytics_events'",
    ) == [(True,)]


def test_conflicts_are_found_and_replaced_in_compressed_segments_of_many_companies(
    connection: Connection, folder: Path
) -> None:
    """In one transaction, each event in a segment of its own, among more than 100,000 compressed rows."""
    # Too young for the compression policy, which would be at the same chunk.
    instant = datetime.now(UTC) - timedelta(days=10)
    stored = [
        new_event(f"company {n}", "u", "payment.received", "revenue", "120.00", "EUR", timestamp=instant)
        for n in range(1, 111)
    ]
    record_events(stored, connection=connection)
    compress(connection, stored[0], companies=110, each=999)
    wrong = [event._replace(value=Decimal("12.00")) for event in stored]
    with pytest.raises(RejectedEvent, match=r"with value '120\.00'.*109 more"):
        record_events(wrong, connection=connection)
    assert record_events(stored, connection=connection) == 0
    assert EventLoader(connection, OnConflict.REPLACE).load(wrong).replaced == 110
    amounts = rows(connection, "SELECT value::text, count(*) FROM analytics_events GROUP BY 1 ORDER BY 2")
    assert amounts == [("12.00", 110), ("1", 109_890)]


def test_behind_the_horizon_nothing_is_replaced(connection: Connection, folder: Path) -> None:
    stored = payment(value="120.00")
    ingest_raws(connection, folder, stored)
    connection.execute(
        "INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-02-01Z') "
        "ON CONFLICT (singleton) DO UPDATE SET events_from = excluded.events_from"
    )
    summary = ingest_raws(connection, folder, {**stored, "value": "12.00"}, on_conflict=OnConflict.REPLACE)
    assert (summary.replaced, summary.conflicts) == (0, 1)
    assert values(connection) == ["120.00"]
    assert conflicts(connection) == [("120.00", "12.00", "open")]
    ((reason,),) = rows(connection, "SELECT reason FROM analytics_ingest_rejects")
    assert "can't be replaced: raw events before 2025-02-01 have expired" in reason


def test_behind_the_horizon_earlier_records_share_the_fate_of_the_last_one(
    connection: Connection, folder: Path
) -> None:
    event = payment()
    versions = [{**event, "value": value} for value in ("1.00", "2.00", "3.00")]
    ingest_raws(connection, folder, *versions, on_conflict=OnConflict.REPLACE)
    connection.execute(
        "INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-02-01Z') "
        "ON CONFLICT (singleton) DO UPDATE SET events_from = excluded.events_from"
    )
    known = {("1.00", "3.00", "replaced"), ("2.00", "3.00", "replaced")}
    summary = ingest_raws(connection, folder, *versions, on_conflict=OnConflict.REPLACE)
    assert (summary.replaced, summary.conflicts, set(conflicts(connection))) == (0, 0, known)
    more = {**event, "value": "4.00"}
    summary = ingest_raws(connection, folder, *versions, more, on_conflict=OnConflict.REPLACE)
    assert (summary.replaced, summary.conflicts, values(connection)) == (0, 3, ["3.00"])
    assert set(conflicts(connection)) == known | {("3.00", value, "open") for value in ("1.00", "2.00", "4.00")}


def test_python_raises_a_contradiction_once_everything_else_is_stored(connection: Connection) -> None:
    events = payments(3)
    record_events(events[:1], connection=connection)
    with pytest.raises(RejectedEvent, match="with value '0', and this record says '5'") as refusal:
        record_events([events[0]._replace(value=Decimal(5)), *events[1:]], connection=connection)
    assert refusal.value.kind == CONTRADICTED
    assert rows(connection, "SELECT count(*) FROM analytics_events") == [(3,)]
    assert rows(connection, "SELECT source, line_number, outcome FROM analytics_event_conflicts") == [
        ("record_events", None, "open")
    ]


def test_a_subscription_whose_price_is_corrected_is_another_one_after_its_day_is_closed_again(
    connection: Connection, folder: Path
) -> None:
    from analytics_pipeline.metrics.subscriptions import update_subscriptions
    from analytics_pipeline.metrics.users import update_users

    started = subscription("10", user_id="u-1")
    day = Window(datetime(2025, 1, 31, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC))
    ingest_raws(connection, folder, started)
    update_subscriptions(connection, day)
    update_users(connection, day)
    ingest_raws(connection, folder, {**started, "value": "80", "user_id": "u-2"}, on_conflict=OnConflict.REPLACE)
    update_subscriptions(connection, day)
    update_users(connection, day)
    assert rows(connection, "SELECT user_id, price::text FROM analytics_subscriptions") == [("u-2", "80")]
    assert ("u-2",) in rows(connection, "SELECT user_id FROM analytics_users")


def test_the_command_record_tells_a_conflict_and_replaces_on_demand(database: Database) -> None:
    identity = ["--event-id", str(uuid4()), "--timestamp", "2025-01-05T10:00:00Z"]
    command = ["acme", "--type", "payment.received", "--category", "revenue", "--currency", "EUR", *identity, "--value"]

    def run(*arguments: str, status: int) -> str:
        result = RUNNER.invoke(record_command, [*command, *arguments], catch_exceptions=False)
        assert result.exit_code == status
        return result.stdout

    assert run("120.00", status=0).startswith("recorded: ")
    assert run("120.0", status=0).startswith("already there: ")
    assert "conflict: event_id" in run("12.00", status=SOME_REJECTED)
    stated = json.loads(run("12.00", "--json", status=SOME_REJECTED))
    assert (stated["new"], stated["replaced"]) == (False, False)
    assert (stated["conflict"]["stored"]["value"], stated["conflict"]["sent"]["value"]) == ("120.00", "12.00")
    assert run("12.00", "--on-conflict", "replace", status=0).startswith("replaced: ")
    assert json.loads(run("12.00", "--json", status=0))["conflict"] is None
    with database.connect(autocommit=True) as connection:
        assert conflicts(connection) == [("120.00", "12.00", "replaced")]
        assert rows(connection, "SELECT source FROM analytics_event_conflicts") == [("record",)]


def test_a_summary_shows_conflicts_replacements_and_nul_bytes(database: Database, folder: Path) -> None:
    path = folder / "a.jsonl"
    stored = payment()
    path.write_bytes(b"\0" * 2_000_000 + json_lines([stored, payment()]).encode())
    result = RUNNER.invoke(ingest_command, [str(path)], catch_exceptions=False)
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    assert "new 2" in words
    assert "skipped NULs 2,000,000" in words
    assert "conflicts" not in words
    path.write_bytes(b"\0\0\n" + json_lines([{**stored, "value": "1"}]).encode())
    arguments = [str(path), "--rejects", str(folder / "rejects.jsonl")]
    result = RUNNER.invoke(ingest_command, arguments, catch_exceptions=False)
    assert result.exit_code == SOME_REJECTED
    assert "rejected 1 conflicts 1 skipped NULs 2" in " ".join(result.stdout.split())
    result = RUNNER.invoke(ingest_command, [*arguments, "--on-conflict", "replace", "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert (figures["replaced"], figures["rejected"], figures["nulBytesSkipped"]) == (1, 0, 2)


INGEST = """
import sys
from pathlib import Path
from analytics_pipeline.events.ingest import ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.database import connect
with connect(autocommit=True) as connection:
    ingest([Source.of(sys.argv[1])], connection, rejects_path=Path(sys.argv[2]), progress=lambda _: print(flush=True))
"""


@pytest.mark.faults
def test_a_killed_ingestion_of_conflicts_is_completed_by_running_it_again(database: Database, folder: Path) -> None:
    path, rejects = folder / "a.jsonl", folder / "rejects.jsonl"
    raws = [payment(value="1.00") for _ in range(30_000)]
    with database.connect(autocommit=True) as connection:
        record_events([parse_event(raw) for raw in raws[::1_000]], connection=connection)
        path.write_text(json_lines({**raw, "value": "2.00"} for raw in raws))
        process = subprocess.Popen([sys.executable, "-c", INGEST, path, rejects], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for _ in range(2):
            summary = ingest([Source.of(path)], connection, rejects_path=rejects)
            assert (summary.conflicts, summary.new + summary.already_there) == (30, 29_970)
            assert conflicts(connection) == [("1.00", "2.00", "open")] * 30
            assert rows(connection, "SELECT count(*) FROM analytics_ingest_rejects") == [(30,)]
            assert len(rejects.read_text().splitlines()) == 30


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session")
def test_replacements_of_one_event_take_turns_and_each_keeps_what_it_replaced(database: Database) -> None:
    first = new_event("acme", "u1", "payment.received", "revenue", value="0.00", currency="EUR", timestamp=START)
    record_events([first])
    sent = [first._replace(value=Decimal(value)) for value in range(1, 9)]

    def replace(event: AnalyticsEvent) -> None:
        with database.connect(autocommit=True) as connection:
            record_events([event], connection=connection, on_conflict=OnConflict.REPLACE)

    with ThreadPoolExecutor(len(sent)) as pool:
        list(pool.map(replace, sent))
    with database.connect(autocommit=True) as connection:
        replaced = dict(rows(connection, "SELECT stored ->> 'value', sent ->> 'value' FROM analytics_event_conflicts"))
        (last,) = values(connection)
    chain = [str(first.value)]
    while chain[-1] in replaced:
        chain.append(replaced[chain[-1]])
    assert len(chain) == len(sent) + 1
    assert Decimal(chain[-1]) == Decimal(last)
