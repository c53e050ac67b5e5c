"""Files go in, once; what can't be an event is kept with its reason; nothing is lost by a kill or a second run."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events import ingest as module
from analytics_pipeline.events.ingest import Progress, ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.intake.rejects import Reject, RejectsFile
from analytics_pipeline.timescale.clock import ClockError, database_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.clocks import shift_machine_clock
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


@pytest.fixture
def rejects(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "rejects.jsonl"


def count(connection: Connection, table: str = "analytics_events") -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def rejected_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_same_file_twice_changes_nothing(connection: Connection, tmp_path: Path, rejects: Path) -> None:
    path = tmp_path / "a.jsonl"
    twice = payment(timestamp="2025-03-01T00:00:00Z")
    path.write_text(json_lines([twice, payment(), payment(timestamp="2025-01-01T00:00:00Z"), twice]))
    summary = ingest([Source.of(path)], connection, rejects_path=rejects)
    assert (summary.read, summary.new, summary.already_there, summary.rejected) == (4, 3, 1, 0)
    assert summary.first == datetime(2025, 1, 1, tzinfo=UTC)
    assert summary.last == datetime(2025, 3, 1, tzinfo=UTC)
    assert summary.rows_per_second > 0
    again = ingest([Source.of(path), Source.of(path)], connection, rejects_path=rejects)
    assert (again.read, again.new, again.already_there) == (8, 0, 8)
    assert count(connection) == 3
    assert not rejects.parent.exists()


def test_two_events_equal_in_all_but_the_id_both_count(connection: Connection, tmp_path: Path, rejects: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json_lines([payment(), payment()]))
    assert ingest([Source.of(path)], connection, rejects_path=rejects).new == 2


def test_bad_records_are_kept_with_line_and_reason_and_the_rest_goes_in(
    connection: Connection, tmp_path: Path, rejects: Path
) -> None:
    path = tmp_path / "a.jsonl"
    bad = [b'{"a": "\xff\0"}', json.dumps(payment(currency="eur")).encode(), b"NaN"]
    good = json_lines([payment()]).encode()
    path.write_bytes(good + b"\n".join(bad) + b"\n" + good)
    summary = ingest([Source.of(path)], connection, rejects_path=rejects)
    assert (summary.read, summary.new, summary.already_there, summary.rejected) == (5, 1, 1, 3)
    assert summary.reasons == {"not UTF-8": 1, "currency of the wrong form": 1, "not a finite number": 1}
    kept = rejected_in(rejects)
    assert [(reject["source"], reject["line"]) for reject in kept] == [(str(path), line) for line in (2, 3, 4)]
    assert kept[0]["record"] == r'{"a": "\xff\x00"}'
    assert kept[1]["record"].encode() == bad[1]
    assert "'eur'" in kept[1]["reason"]
    rows = connection.execute(
        "SELECT source, line_number, reason, record FROM analytics_ingest_rejects ORDER BY line_number"
    ).fetchall()
    assert rows == [tuple(reject.values()) for reject in kept]


def test_a_second_run_keeps_every_reject_once(connection: Connection, tmp_path: Path, rejects: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("no\nno\n")
    for _ in range(2):
        assert ingest([Source.of(path)], connection, rejects_path=rejects).rejected == 2
    assert len(rejected_in(rejects)) == 2
    assert count(connection, "analytics_ingest_rejects") == 2
    assert list(rejects.parent.iterdir()) == [rejects]


def test_rejects_of_an_earlier_run_are_kept_under_a_number(rejects: Path) -> None:
    for reason in ("one", "two", "three"):
        with RejectsFile(rejects) as file:
            file.add(Reject("a", 1, "kind", reason, None, "x"))
    found = {path.name: rejected_in(path)[0]["reason"] for path in rejects.parent.iterdir()}
    assert found == {"rejects.jsonl": "three", "rejects.jsonl.1": "one", "rejects.jsonl.2": "two"}


def test_rejects_are_kept_when_the_run_fails(rejects: Path) -> None:
    def failing_run() -> None:
        with RejectsFile(rejects) as file:
            file.add(Reject("a", 1, "kind", "one", None, "x"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing_run()
    assert len(rejected_in(rejects)) == 1


@pytest.mark.slow
def test_a_damaged_file_gives_up_what_could_be_read_of_it(
    connection: Connection, tmp_path: Path, rejects: Path
) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json_lines(payment() for _ in range(5_000)).encode())[:-1_000])
    with pytest.raises(AnalyticsError, match="damaged"):
        ingest([Source.of(path)], connection, rejects_path=rejects)
    assert 0 < count(connection) < 5_000


def test_progress_tells_bytes_and_figures_batch_by_batch(
    connection: Connection, tmp_path: Path, rejects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_EVENTS", 100)
    path = tmp_path / "a.jsonl"
    path.write_text(json_lines(payment() for _ in range(250)))
    steps: list[tuple[int | None, int]] = []

    def note(progress: Progress) -> None:
        steps.append((progress.position, progress.summary.new))

    summary = ingest([Source.of(path)], connection, rejects_path=rejects, progress=note)
    assert summary.new == 250
    assert [new for _, new in steps] == [100, 200, 250]
    assert steps[-1][0] == path.stat().st_size


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(
    connection: Connection, tmp_path: Path, rejects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_EVENTS", 500)

    def peak_of(size: int) -> int:
        path = tmp_path / f"{size}.jsonl"
        note = {"note": "x" * 1_000}
        path.write_text(json_lines(payment(metadata=note) if n % 2 else note for n in range(size)))
        tracemalloc.start()
        try:
            ingest([Source.of(path)], connection, rejects_path=rejects)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_of(1_000)
    assert peak_of(8_000) < peak_of(2_000) + 2_000_000


def test_a_connection_inside_a_transaction_is_refused(database: Database, tmp_path: Path, rejects: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json_lines([payment()]))
    with database.connect() as connection:
        connection.execute("SELECT 1")
        with pytest.raises(ValueError, match="inside a transaction"):
            ingest([Source.of(path)], connection, rejects_path=rejects)


@pytest.mark.slow
def test_a_real_file_comes_in_to_the_cent(connection: Connection, rejects: Path) -> None:
    path = Path(__file__).parent / "data" / "cdnow_sample.jsonl.gz"
    summary = ingest([Source.of(path)], connection, rejects_path=rejects)
    assert (summary.new, summary.rejected) == (6_919, 0)
    row = connection.execute("SELECT sum(value) FROM analytics_events").fetchone()
    assert row == (Decimal("244091.94"),)


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
def test_a_killed_ingestion_is_completed_by_running_it_again(
    connection: Connection, tmp_path: Path, rejects: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json_lines(payment() for _ in range(60_000)) + "no\n")
    process = subprocess.Popen([sys.executable, "-c", INGEST, path, rejects], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    time.sleep(0.2)
    before = count(connection)
    assert 0 < before < 60_000
    summary = ingest([Source.of(path)], connection, rejects_path=rejects)
    assert summary.already_there >= before
    assert summary.new + summary.already_there == 60_000
    assert count(connection) == 60_000
    assert len(rejected_in(rejects)) == 1


def test_no_file_is_taken_while_the_clocks_are_more_than_five_minutes_apart(
    connection: Connection, tmp_path: Path, rejects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json_lines([payment(), "nonsense"]))  # type: ignore[list-item]
    shift_machine_clock(monkeypatch, timedelta(days=2))
    with pytest.raises(ClockError, match="2 days ahead of the database's"):
        ingest([Source.of(path)], connection, rejects_path=rejects)
    assert (count(connection), count(connection, "analytics_ingest_rejects")) == (0, 0)


def test_the_database_clock_tells_which_records_lie_in_the_future(
    connection: Connection, tmp_path: Path, rejects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = database_now(connection)
    path = tmp_path / "a.jsonl"
    path.write_text(json_lines(payment(timestamp=(now + timedelta(minutes=ahead)).isoformat()) for ahead in (-1, 2, 8)))
    for by in (4, -4):
        shift_machine_clock(monkeypatch, timedelta(minutes=by))
        summary = ingest([Source.of(path)], connection, rejects_path=rejects)
        assert (summary.read, summary.rejected) == (3, 1)
        assert dict(summary.reasons) == {"timestamp in the future": 1}
