"""Rejects have a bound, leave nothing behind, and a folder without room is no fault of the file that is read."""

import fcntl
import gzip
import io
import json
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.events.inbox import Outcome, ingest_from_inbox, open_inbox
from analytics_pipeline.events.ingest import ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.folders import FolderError, temporary_folder
from analytics_pipeline.intake.rejects import Reject, RejectsFile
from analytics_pipeline.settings import get_settings
from analytics_pipeline.store import COPIES_PREFIX
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment

# So much may a file be long in a folder that is full: enough for a log line, too little for 300 rejects.
ROOM = 20_000


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


@contextmanager
def full_disks() -> Iterator[None]:
    """Let no file of this process grow beyond what little is left: writing fails as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _rubbish(path: Path) -> Path:
    """Write three good records among rubbish of three kinds, the last of them contradicting the first."""
    first = payment(event_id="0b1c2d3e-1111-4222-8333-444455556666")
    lines = [json_lines([first]), "no\n" * 300]
    lines += [json_lines(payment(company_id=f"c{n % 2}", currency="eur") for n in range(30))]
    lines += [json_lines(payment(company_id=f"c{n}", currency="usd") for n in range(2, 10))]
    lines += [json_lines([payment(), payment()]), json_lines({**first, "value": n} for n in range(5))]
    path.write_text("".join(lines))
    return path


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_of_each_reason_the_first_are_kept_whole_and_the_others_counted(connection: Connection, tmp_path: Path) -> None:
    path, rejects = _rubbish(tmp_path / "a.jsonl"), tmp_path / "rejects.jsonl"
    for again in range(2):
        summary = ingest([Source.of(path)], connection, rejects_path=rejects, rejects_kept=4)
        assert (summary.read, summary.new, summary.rejected) == (346, 0 if again else 3, 343)
        assert summary.reasons == {"not JSON": 300, "currency of the wrong form": 38, "contradicts a stored event": 5}
        assert summary.not_kept == 343 - 3 * 4
        kept = _lines(rejects)
        assert len([line for line in kept if line["record"] is not None]) == 12
        assert [(line["source"], line["reason"]) for line in kept if line["record"] is None] == [
            (str(path), "not JSON: 296 more, not kept"),
            (str(path), "currency of the wrong form: 34 more, not kept"),
            (str(path), "contradicts a stored event: 1 more, not kept"),
        ]
        assert fetch_row(connection, "SELECT count(*) FROM analytics_ingest_rejects") == (12,)
        counts = "SELECT kind, company_id, records FROM analytics_ingest_reject_counts ORDER BY 1, 2, 3"
        assert connection.execute(counts).fetchall() == [
            ("contradicts a stored event", "acme", 1),
            ("currency of the wrong form", "c0", 13),
            ("currency of the wrong form", "c1", 13),
            # No reject that is kept names them: their number has no bound.
            ("currency of the wrong form", None, 8),
            ("not JSON", None, 296),
        ]
    path.write_text(path.read_text() + "no\n")
    ingest([Source.of(path)], connection, rejects_path=rejects, rejects_kept=4)
    assert fetch_row(connection, "SELECT max(records) FROM analytics_ingest_reject_counts") == (297,)


def test_the_bound_is_a_setting_and_holds_for_rates_too(
    database: Database, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("ANALYTICS_REJECTS_KEPT", "2")
    rates = tmp_path / "rates.csv"
    rates.write_text("rate_date,base,quote,rate\n" + "no\n" * 5)
    for command, rejected in ((["ingest", str(_rubbish(tmp_path / "a.jsonl"))], 343), (["fx", "load", str(rates)], 5)):
        get_settings.cache_clear()
        rejects = tmp_path / f"{command[0]}.rejects"
        stated = _call(*command, "--rejects", str(rejects), "--json")
        figures = json.loads(stated.stdout)
        assert (stated.exit_code, figures["rejected"]) == (3, rejected)
        assert figures["notKept"] == rejected - 2 * len(figures["reasons"])
        assert len(_lines(rejects)) == 3 * len(figures["reasons"])
        shown = _call(*command, "--rejects", str(rejects)).stdout
        assert f"kept in {rejects}, but for {figures['notKept']:,} that are only counted" in shown


@pytest.mark.slow
def test_a_damaged_file_s_rejects_are_counted_too(connection: Connection, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    packed = gzip.compress(_rubbish(tmp_path / "a.jsonl").read_bytes() * 100)
    path.write_bytes(packed[: len(packed) * 3 // 4])
    with pytest.raises(Exception, match="damaged"):
        ingest([Source.of(path)], connection, rejects_path=tmp_path / "rejects", rejects_kept=1)
    assert fetch_row(connection, "SELECT max(records) FROM analytics_ingest_reject_counts") > (200,)


def test_what_killed_runs_have_left_is_removed_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    own, folder = tmp_path / "mine.jsonl", tmp_path
    default = "20260101T000000Z-1"
    left = ["mine.jsonl.ab_12345.part", f"{default}23.jsonl.abcdefgh.part", f"{default}-fx.jsonl.abcdefgh.part"]
    others = ["film.mkv.part", "mine.jsonl.part", "notmine.jsonl.ab_12345.part", f"{default}.jsonl.zzzzzzzz.part"]
    for name in (*left, *others):
        _of_before(folder / name)
    with (folder / others[-1]).open() as running:
        fcntl.flock(running, fcntl.LOCK_EX)
        with RejectsFile(own) as rejects:
            assert sorted(path.name for path in folder.iterdir()) == sorted(others)
            rejects.add(Reject("a", 1, "kind", "one", None, "x"))
            # Of two runs at once neither takes the other's file.
            with RejectsFile(own) as second:
                second.add(Reject("a", 1, "kind", "one", None, "x"))
    assert sorted(path.name for path in folder.iterdir()) == sorted([*others, "mine.jsonl"])


def test_temporary_folders_of_killed_runs_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, new = tmp_path / f"{COPIES_PREFIX}killed", tmp_path / f"{COPIES_PREFIX}new"
    killed.mkdir()
    _of_before(killed / "events.jsonl")
    os.utime(killed, (0, 0))
    new.mkdir()
    with temporary_folder(COPIES_PREFIX) as first, temporary_folder(COPIES_PREFIX) as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second, new])
    assert list(tmp_path.iterdir()) == [new], "another run is about to lock it"


def test_a_full_disk_under_the_rejects_is_one_line_and_everything_else_is_in(
    connection: Connection, tmp_path: Path
) -> None:
    path, folder = _rubbish(tmp_path / "a.jsonl"), tmp_path / "rejects"
    with full_disks():
        result = _call("ingest", str(path), "--rejects", str(folder / "r.jsonl"))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: Can't write rejects to {folder}: File too large. ")
    assert "damaged" not in result.output
    assert result.output.count("\n") == 1
    assert list(folder.iterdir()) == []
    counted = "SELECT (SELECT count(*) FROM analytics_events), (SELECT count(*) FROM analytics_ingest_rejects)"
    assert fetch_row(connection, counted) == (3, 343)


def test_a_folder_for_rejects_that_cannot_be_made_is_one_line(connection: Connection, tmp_path: Path) -> None:
    path = _rubbish(tmp_path / "a.jsonl")
    result = _call("ingest", str(path), "--rejects", str(path / "below a file" / "r.jsonl"))
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert f"Can't write rejects to {path / 'below a file'}: Not a directory." in result.output
    assert fetch_row(connection, "SELECT count(*) FROM analytics_events") == (3,)
    rates = tmp_path / "rates.csv"
    rates.write_text("rate_date,base,quote,rate\n2025-01-31,EUR,USD,1.1\nno\n")
    result = _call("fx", "load", str(rates), "--rejects", str(path / "below a file" / "r.jsonl"))
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert fetch_row(connection, "SELECT count(*) FROM analytics_fx_rates") == (1,)


@pytest.mark.parametrize("what", ["rejects", "unpacked Parquet", "a store's file"])
def test_a_full_disk_leaves_a_sound_file_in_the_inbox(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    root = f"memory://full-{tmp_path.name}" if what == "a store's file" else str(tmp_path / "inbox")
    inbox = open_inbox(root, create=True)
    inbox.scan()
    name, content, new = "a.jsonl", _rubbish(tmp_path / "a.jsonl").read_bytes(), 3
    if what == "unpacked Parquet":
        events = [{**payment(), "metadata": None} for _ in range(1_000)]
        packed = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(events), packed)
        name, content, new = "a.parquet.gz", gzip.compress(packed.getvalue()), 1_000
    if what == "a store's file":
        from upath import UPath

        UPath(root).mkdir(parents=True, exist_ok=True)
        # Three times the same, to be larger than what there is room for.
        content *= 3
        (UPath(root) / name).write_bytes(content)
    else:
        (tmp_path / "inbox" / name).write_bytes(content)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    said = rf"Can't write (rejects )?to {temporary}\S*: File too large"
    with full_disks(), pytest.raises(FolderError, match=said):
        ingest_from_inbox(inbox, name, connection)
    assert list(temporary.iterdir()) == []
    assert [file.name for file in inbox.scan().files] == [name]
    done = ingest_from_inbox(inbox, name, connection)
    assert (done.outcome, done.location) == (Outcome.DONE, f"{inbox.location}/done/{name}")
    assert fetch_row(connection, "SELECT count(*) FROM analytics_events") == (new,)


def test_a_missing_temporary_folder_is_one_line(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = open_inbox(str(tmp_path / "inbox"), create=True)
    inbox.scan()
    (tmp_path / "inbox" / "a.jsonl").write_text(json_lines([payment()]))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(FolderError, match=f"Can't write to {tmp_path / 'gone'}: No such file or directory. Free space"):
        ingest_from_inbox(inbox, "a.jsonl", connection)
    assert [file.name for file in inbox.scan().files] == ["a.jsonl"]


def _of_before(path: Path) -> None:
    path.write_text("x")
    os.utime(path, (0, 0))


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)
