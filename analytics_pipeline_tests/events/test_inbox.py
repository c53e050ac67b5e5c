"""A dropped file is taken once it is whole, and filed away without losing or overwriting anything."""

import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from upath import UPath

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events import sources
from analytics_pipeline.events.contradictions import OnConflict
from analytics_pipeline.events.inbox import Inbox, Outcome, Watch, free_names, ingest_from_inbox, open_inbox
from analytics_pipeline.events.ingest import Progress
from analytics_pipeline.timescale.clock import ClockError
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.clocks import shift_machine_clock
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment

NOW = datetime(2025, 3, 5, 12, tzinfo=UTC)


@pytest.fixture(params=["folder", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UPath]:
    """An inbox in a folder, and one in what fsspec takes for an object store."""
    if request.param == "folder":
        folder = UPath(tmp_path / "inbox")
        folder.mkdir()
        yield folder
        return
    root = UPath(f"memory://inbox-{uuid.uuid4().hex}")
    root.mkdir(parents=True)
    yield root
    root.fs.rm(root.path, recursive=True)


@pytest.fixture
def inbox(place: UPath) -> Inbox:
    return open_inbox(str(place))


@pytest.fixture
def connection(database: Database) -> Connection:
    return database.connect(autocommit=True)


def _names(place: UPath) -> list[str]:
    """Return every file under a place, relative to it."""
    return sorted(path.path.removeprefix(place.path).lstrip("/") for path in place.rglob("*") if path.is_file())


def _count(connection: Connection) -> int:
    row = connection.execute("SELECT count(*) FROM analytics_events").fetchone()
    assert row is not None
    return int(row[0])


def test_only_files_of_events_that_are_finished_count(place: UPath, inbox: Inbox) -> None:
    for name in ("b.jsonl", "a.CSV", "c.parquet", "d.jsonl.gz", "e.ndjson"):
        (place / name).write_text("x")
    for name in (".hidden.jsonl", "f.jsonl.partial", "f.csv.tmp", "a.jsonl.rejects.jsonl", "x.part"):
        (place / name).write_text("x")
    for name in ("notes.txt", "events", "archive.zip"):
        (place / name).write_text("x")
    for folder in ("done", "failed", "other"):
        (place / folder).mkdir(exist_ok=True)
        (place / folder / "z.jsonl").write_text("x")
    listing = inbox.scan()
    assert sorted(file.name for file in listing.files) == ["a.CSV", "b.jsonl", "c.parquet", "d.jsonl.gz", "e.ndjson"]
    assert listing.foreign == ["archive.zip", "events", "notes.txt"]


def test_the_oldest_comes_first_and_links_lead_nowhere(tmp_path: Path) -> None:
    for age, name in enumerate(("new.jsonl", "middle.jsonl", "old.jsonl")):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "old.jsonl")
    (tmp_path / os.fsdecode(b"broken-\xff.jsonl")).write_text("x")
    listing = open_inbox(str(tmp_path)).scan()
    assert [file.name for file in listing.files] == ["old.jsonl", "middle.jsonl", "new.jsonl"]
    assert listing.foreign == ["broken-\\udcff.jsonl"]


def test_the_formats_are_those_of_ingestion(tmp_path: Path) -> None:
    for ending in sources.FORMATS:
        (tmp_path / f"events.{ending.lstrip('.')}").write_text("x")
    listing = open_inbox(str(tmp_path)).scan()
    assert len(listing.files) == len(sources.FORMATS)
    assert listing.foreign == []


def test_a_file_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    inbox, path, watch = open_inbox(str(tmp_path)), tmp_path / "a.jsonl", Watch()

    def look(seconds: int) -> bool:
        return bool(watch.poll(inbox.scan().files, NOW + timedelta(seconds=seconds))[0])

    def write(text: str, seconds: int) -> None:
        path.write_text(text)
        os.utime(path, (NOW.timestamp() + seconds, NOW.timestamp() + seconds))

    write("x", 0)
    assert not look(100), "one poll proves nothing"
    write("xx", 105)
    assert not look(110), "it has grown"
    assert not look(114), "not for long enough"
    write("yy", 115)
    assert not look(121), "rewritten, the same size"
    assert look(131)
    # The writer's clock is ahead: what counts is that nothing changes, by ours.
    write("z", 9999)
    assert not look(132)
    assert look(142)


def test_a_file_is_ingested_and_filed_with_its_rejects(place: UPath, inbox: Inbox, connection: Connection) -> None:
    (place / "a.jsonl").write_text(json_lines([payment(), payment(value="much")]))
    seen: list[Progress] = []
    result = ingest_from_inbox(inbox, "a.jsonl", connection, progress=seen.append)
    assert (result.outcome, result.summary.new, result.summary.rejected) == (Outcome.DONE, 1, 1)
    assert _names(place) == ["done/a.jsonl", "done/a.jsonl.rejects.jsonl"]
    assert result.location is not None
    assert result.location.endswith("/done/a.jsonl")
    assert result.rejects == f"{result.location}.rejects.jsonl"
    row = connection.execute("SELECT source FROM analytics_ingest_rejects").fetchone()
    assert row == (f"{inbox.location}/a.jsonl",)
    assert seen


@pytest.mark.slow
def test_the_same_content_under_another_name_does_no_harm(place: UPath, inbox: Inbox, connection: Connection) -> None:
    content = json_lines([payment(), payment()])
    for name in ("a.jsonl", "b.jsonl"):
        (place / name).write_text(content)
        result = ingest_from_inbox(inbox, name, connection)
    assert (result.summary.new, result.summary.already_there, _count(connection)) == (0, 2, 2)


def test_nothing_that_was_filed_is_overwritten(place: UPath, inbox: Inbox, connection: Connection) -> None:
    for _ in range(3):
        (place / "a.b.jsonl").write_text(json_lines([payment(), payment(value="much")]))
        ingest_from_inbox(inbox, "a.b.jsonl", connection)
    assert _names(place) == [
        f"done/a.b{number}.jsonl{ending}" for number in ("", "~2", "~3") for ending in ("", ".rejects.jsonl")
    ]
    assert _count(connection) == 3


BAD_FILES = {
    "a.parquet": (b"not parquet", "is damaged or not"),
    "a.jsonl.gz": (b"\x1f\x8b\x08\x00 broken", "is damaged or not"),
    "a.csv": (b"what,is,this\n1,2,3\n", "a.csv"),
    "a.jsonl": (b"{}\n[]\n", "every one of its 2 records was rejected"),
}


def test_a_file_that_gives_nothing_is_filed_as_failed_with_the_reason(
    place: UPath, inbox: Inbox, connection: Connection
) -> None:
    for name, (content, reason) in BAD_FILES.items():
        (place / name).write_bytes(content)
        result = ingest_from_inbox(inbox, name, connection)
        assert result.outcome is Outcome.FAILED
        assert result.reason is not None
        assert reason in result.reason
        assert (place / "failed" / f"{name}.reason.txt").read_text().strip() == result.reason
    expected = [f"failed/{name}{ending}" for name in BAD_FILES for ending in ("", ".reason.txt")]
    assert _names(place) == sorted([*expected, "failed/a.jsonl.rejects.jsonl"])


def test_a_file_that_contradicts_what_is_stored_changes_nothing_unless_it_may_replace(
    place: UPath, inbox: Inbox, connection: Connection
) -> None:
    stored = payment(value="120.00")
    (place / "a.jsonl").write_text(json_lines([stored]))
    ingest_from_inbox(inbox, "a.jsonl", connection)
    (place / "b.jsonl").write_text(json_lines([{**stored, "value": "12.00"}, payment()]))
    rejected = ingest_from_inbox(inbox, "b.jsonl", connection)
    assert (rejected.outcome, rejected.summary.conflicts, rejected.summary.new) == (Outcome.DONE, 1, 1)
    assert '"stored": ' in (place / "done" / "b.jsonl.rejects.jsonl").read_text()
    sources = connection.execute("SELECT source, outcome FROM analytics_event_conflicts").fetchall()
    assert sources == [(f"{inbox.location}/b.jsonl", "open")]
    (place / "c.jsonl").write_text(json_lines([{**stored, "value": "12.00"}]))
    only = ingest_from_inbox(inbox, "c.jsonl", connection)
    assert only.outcome is Outcome.FAILED
    assert "most often: contradicts a stored event" in str(only.reason)
    (place / "d.jsonl").write_text(json_lines([{**stored, "value": "12.00"}]))
    replaced = ingest_from_inbox(inbox, "d.jsonl", connection, on_conflict=OnConflict.REPLACE)
    assert (replaced.outcome, replaced.summary.replaced, replaced.rejects) == (Outcome.DONE, 1, None)
    amounts = connection.execute("SELECT value::text FROM analytics_events ORDER BY 1").fetchall()
    assert amounts == [("12.00",), ("29.33",)]


def test_nul_bytes_and_over_long_lines_of_a_dropped_file_are_reported(
    place: UPath, inbox: Inbox, connection: Connection
) -> None:
    event = json_lines([payment()]).encode()
    (place / "a.jsonl").write_bytes(b"\0" * 2_000_000 + event + b" " * 1_048_577 + event)
    result = ingest_from_inbox(inbox, "a.jsonl", connection)
    assert (result.summary.new, result.summary.rejected, result.summary.nul_bytes) == (1, 1, 2_000_000)
    (reason,) = connection.execute("SELECT reason FROM analytics_ingest_rejects").fetchall()
    assert f"has {1_048_576 + len(event):,} bytes" in reason[0]


def test_an_empty_file_is_done(place: UPath, inbox: Inbox, connection: Connection) -> None:
    (place / "a.jsonl").write_bytes(b"")
    result = ingest_from_inbox(inbox, "a.jsonl", connection)
    assert (result.outcome, result.summary.read, _names(place)) == (Outcome.DONE, 0, ["done/a.jsonl"])


def test_a_file_that_changes_while_it_is_read_stays(place: UPath, inbox: Inbox, connection: Connection) -> None:
    (place / "a.jsonl").write_text(json_lines([payment()]))

    def write_more(_: Progress) -> None:
        with (place / "a.jsonl").open("a") as file:
            file.write(json_lines([payment()]))

    assert ingest_from_inbox(inbox, "a.jsonl", connection, progress=write_more).outcome is Outcome.CHANGED
    assert _names(place) == ["a.jsonl"]
    assert ingest_from_inbox(inbox, "a.jsonl", connection).summary.new == 1
    assert _count(connection) == 2


def test_another_version_is_left_for_the_run_that_asks_for_it(
    place: UPath, inbox: Inbox, connection: Connection
) -> None:
    (place / "a.jsonl").write_text(json_lines([payment()]))
    assert ingest_from_inbox(inbox, "a.jsonl", connection, version="1-1").outcome is Outcome.CHANGED
    assert ingest_from_inbox(inbox, "b.jsonl", connection).outcome is Outcome.GONE
    assert _names(place) == ["a.jsonl"]
    assert _count(connection) == 0


@pytest.mark.parametrize("name", ["../a.jsonl", "/etc/passwd", "done/a.jsonl", "", "..", "a\0.jsonl"])
def test_no_name_leads_out_of_the_inbox(inbox: Inbox, name: str) -> None:
    with pytest.raises(AnalyticsError, match="not the name of a file in the inbox"):
        inbox.find(name)


def test_an_inbox_that_is_not_there_is_an_error_unless_it_is_ours(tmp_path: Path) -> None:
    with pytest.raises(AnalyticsError, match="ANALYTICS_INBOX"):
        open_inbox(str(tmp_path / "missing")).scan()
    assert open_inbox(str(tmp_path / "missing"), create=True).scan().files == []
    with pytest.raises(AnalyticsError, match="ANALYTICS_INBOX") as refusal:
        open_inbox("nosuch://me:secret@host/x")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("a.jsonl", "a~2.jsonl"),
        ("a.b.jsonl.gz", "a.b~2.jsonl.gz"),
        ("a.CSV", "a~2.CSV"),
        ("a.jsonl.GZ", "a~2.jsonl.GZ"),
    ],
)
def test_a_number_comes_before_the_endings(name: str, second: str) -> None:
    names = free_names(name)
    assert [next(names), next(names)] == [name, second]


def test_a_file_stays_while_the_clocks_differ_and_is_taken_afterwards(
    place: UPath, inbox: Inbox, connection: Connection
) -> None:
    (place / "a.jsonl").write_text(json_lines([payment()]))
    with pytest.MonkeyPatch.context() as patch:
        shift_machine_clock(patch, timedelta(days=-2))
        with pytest.raises(ClockError):
            ingest_from_inbox(inbox, "a.jsonl", connection)
    assert (_names(place), _count(connection)) == (["a.jsonl"], 0)
    assert ingest_from_inbox(inbox, "a.jsonl", connection).outcome is Outcome.DONE
    assert _count(connection) == 1
