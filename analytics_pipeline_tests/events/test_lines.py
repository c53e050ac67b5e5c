"""Every byte of a file is accounted for: in a line, as a NUL byte that is counted, or in the length of a long line."""

import codecs
import gzip
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analytics_pipeline.events.model import parse_event
from analytics_pipeline.events.readers import read_records
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.sources import Source, open_source
from analytics_pipeline.intake.bounded_lines import MAX_LINE_BYTES, LongLine, bounded_lines
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline_tests.events.sample_records import json_lines, payment
from analytics_pipeline_tests.events.test_readers import CSV_HEADER, CSV_ROW, ID

LIMIT = 7
PIECES = st.sampled_from([b"\0", b"\0" * 20, b" ", b" " * 9, b"\n", b"\r\n", b"a", b"abcdefg", b"{}", codecs.BOM_UTF8])


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time, in steps of its own."""

    def __init__(self, content: bytes, steps: list[int]) -> None:
        self._content = io.BytesIO(content)
        self._steps = steps
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        self._at += 1
        read = self._content.read(min(len(view), self._steps[self._at % len(self._steps)]))
        view[: len(read)] = read
        return len(read)


def expected_lines(content: bytes) -> tuple[list[bytes], int]:
    """Return the lines without NUL bytes before them, and how many there were: from the whole content at once."""
    kept, skipped = [], 0
    for number, line in enumerate(re.findall(rb"[^\n]*\n|[^\n]+$", content)):
        text = line.removeprefix(codecs.BOM_UTF8) if number == 0 else line
        rest = text.lstrip(b"\0")
        skipped += len(text) - len(rest)
        # The mark is left out before NUL bytes and behind them.
        if number == 0 and rest != text:
            rest = rest.removeprefix(codecs.BOM_UTF8)
        if rest:
            kept.append(rest)
    return kept, skipped


@given(st.lists(PIECES, max_size=30).map(b"".join), st.lists(st.integers(1, 9), min_size=1, max_size=4))
@example(b"\0" * 40 + b"{}\n", [3])
@example(b" " * 8 + b"{}\nnext", [1])
@example(codecs.BOM_UTF8 + b"\0\0" + b"abcdefg\n", [2])
@example(b"abcdefg\nabcdefgh\nabcdefg", [1])
def test_every_byte_is_in_a_line_or_counted_whatever_the_chunks(content: bytes, steps: list[int]) -> None:
    skipped: list[int] = []
    stream = io.BufferedReader(Trickle(content, steps), buffer_size=4)
    lines = list(bounded_lines(stream, skipped.append, limit=LIMIT))
    expected, nul_bytes = expected_lines(content)
    assert sum(skipped) == nul_bytes
    assert len(lines) == len(expected)
    for line, wanted in zip(lines, expected, strict=True):
        text = wanted.removesuffix(b"\n")
        if len(text) <= LIMIT:
            assert line == wanted
        else:
            assert line == LongLine(wanted[:LIMIT], len(text), wanted.isspace())


def read(path: Path) -> tuple[list[Record], int]:
    source = Source.of(path)
    with open_source(source) as opened:
        return list(read_records(opened, source.format, source.name)), opened.nul_bytes


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "csv", "csv.gz"])
@pytest.mark.parametrize("count", [1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 2_000_000])
def test_nul_bytes_before_a_line_are_skipped_and_counted(tmp_path: Path, ending: str, count: int) -> None:
    path = tmp_path / f"a.{ending}"
    if ending.startswith("csv"):
        row = CSV_ROW.format(id=ID).encode()
        content = b"\0" * count + CSV_HEADER.encode() + row + b"\0" * count + row + b"\0" * count
    else:
        row = json_lines([payment()]).encode()
        content = b"\0" * count + row + b"\0" * count + row + b"\0" * count
    path.write_bytes(gzip.compress(content, 1) if ending.endswith("gz") else content)
    records, nul_bytes = read(path)
    assert nul_bytes == 3 * count
    assert len(records) == 2
    for record in records:
        assert not isinstance(record.content, RejectedEvent)
        parse_event(record.content)


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_line_of_blanks_and_an_event_beyond_the_bound_is_rejected_with_its_length(
    tmp_path: Path, ending: str
) -> None:
    event = CSV_ROW.format(id=ID).encode() if ending == "csv" else json_lines([payment()]).encode()
    header = CSV_HEADER.encode() if ending == "csv" else b""
    path = tmp_path / f"a.{ending}"
    path.write_bytes(header + b" " * (MAX_LINE_BYTES + 1) + event + event)
    (long, good), _ = read(path)
    assert isinstance(long.content, RejectedEvent)
    assert long.content.kind == "line too long"
    assert f"has {MAX_LINE_BYTES + len(event):,} bytes" in long.content.reason
    assert long.text == " " * MAX_LINE_BYTES
    assert not isinstance(good.content, RejectedEvent)
    assert good.line == long.line + 1


def test_the_bound_is_the_longest_line_without_its_end(tmp_path: Path) -> None:
    for length, kind in ((MAX_LINE_BYTES, None), (MAX_LINE_BYTES + 1, "line too long")):
        path = tmp_path / f"{length}.jsonl"
        path.write_bytes(b'{"a": "' + b"x" * (length - 9) + b'"}\n')
        ((record,), _) = read(path)
        assert getattr(record.content, "kind", None) == kind


def test_a_long_line_of_nothing_but_blanks_is_blank(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b" " * 3_000_000 + b"\n" + json_lines([payment()]).encode())
    (records, nul_bytes) = read(path)
    assert [(record.line, nul_bytes) for record in records] == [(2, 0)]


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_nul_byte_within_a_line_is_rejected_with_the_line(tmp_path: Path, ending: str) -> None:
    event = CSV_ROW.format(id=ID) if ending == "csv" else json_lines([payment()])
    header = CSV_HEADER if ending == "csv" else ""
    path = tmp_path / f"a.{ending}"
    path.write_text(header + event.replace("acme", "ac\0me") + event.replace("\n", "\0\0\n") + event)
    (first, second, good), nul_bytes = read(path)
    assert nul_bytes == 0
    for record in (first, second):
        assert isinstance(record.content, RejectedEvent)
        assert record.content.kind == "NUL byte"
        assert "\\x00" in record.text
    assert not isinstance(good.content, RejectedEvent)


def test_nul_bytes_within_a_cell_of_csv_are_not_left_out_in_silence(tmp_path: Path) -> None:
    row = CSV_ROW.format(id=ID)
    path = tmp_path / "a.csv"
    path.write_text(CSV_HEADER + row.replace("{", "{\n\0\0") + row)
    (broken, good), nul_bytes = read(path)
    assert isinstance(broken.content, RejectedEvent)
    assert (broken.content.kind, nul_bytes) == ("NUL byte", 2)
    assert not isinstance(good.content, RejectedEvent)


PEAK_MEMORY = """
import io, sys, tracemalloc
from analytics_pipeline.events.lines import bounded_lines

class Endless(io.RawIOBase):
    left = 200_000_000
    def readable(self): return True
    def readinto(self, buffer):
        size = min(len(buffer), self.left)
        buffer[:size] = sys.argv[1].encode().decode("unicode_escape").encode() * size
        self.left -= size
        return size

tracemalloc.start()
lines = list(bounded_lines(io.BufferedReader(Endless(), 1 << 18), lambda count: None))
print(tracemalloc.get_traced_memory()[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("byte", ["x", " ", r"\0"])
def test_a_line_without_end_is_not_held_in_memory(byte: str) -> None:
    done = subprocess.run([sys.executable, "-c", PEAK_MEMORY, byte], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) < 12 * MAX_LINE_BYTES
