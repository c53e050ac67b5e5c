"""Mutated files: whatever is in one, each record is stored, there already, or rejected, and nothing raises.

The usual run makes do with a sample, ``make test-faults`` tries 10,000; ``INGEST_FUZZ_FILES=10000`` makes the usual run
try that many files a format.
"""

import gzip
import io
import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import zstandard

from analytics_pipeline.events.ingest import UNFORESEEN, IngestSummary, SourcesUnreadableError, ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment, subscription

DATA = Path(__file__).parent / "data"
FILES = int(os.environ.get("INGEST_FUZZ_FILES", "60"))
AT_ONCE = 50
ROWS = 6

TEXTS = (
    "", " ", "NaN", "null", "-0", "1e5", "1e999999", "0E-30", "12,50", "1_0", "\u0661", "\x00", "\x7f", "\u200b",
    "e\u0301", "\ud800", "\ufeff", "x" * 201, "2026-01-15 12:00:00.309+00", "2026-01-15T24:00:00Z", "EUR",
    "2016-12-31T23:59:60Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "2026-02-30T00:00:00Z", "evt_1", "{}",
    "[", '{"a":1,"a":2}', "payment.refunded", "crypto", "=1+1", "a\nb", '"',
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *TEXTS, None, True, False, 0, -1, 2**63, 2**64 + 1, 10**120, 1.5, 1e308, [], [[]] * 3, {},
    {"a": [None, {"b": 1}]}, {"source_id": 1}, {"subscription_id": 5, "status": []}, {"fiat_value": "x"},
    {"\u0000": "\u0000"},
)  # fmt: skip
TOKENS = (
    b"\0", b"\0" * 9, b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\n", b"\r", b"\r\n", b'"', b'""', b",", b";", b"{", b"}",
    b"[" * 40, b":", b"\\", b"\\u0000", b"\\ud800", b"NaN", b"1e999999999999", b"9" * 5_000, b"sep=;\n", b" ", b"\t",
    b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"-" * 300,
)  # fmt: skip


def mutated(rng: random.Random, content: bytes) -> bytes:
    """Return the bytes with a few of them changed, taken away, repeated, moved, or put in between."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not data:
            break
        start = rng.randrange(len(data))
        end = min(len(data), start + rng.choice((1, 1, 2, 8, 64, 512)))
        match rng.randrange(6):
            case 0:
                data[start] = rng.randrange(256)
            case 1:
                data[start] ^= 1 << rng.randrange(8)
            case 2:
                del data[start:end]
            case 3:
                data[start:start] = data[start:end]
            case 4:
                data[start:start] = rng.choice(TOKENS)
            case _:
                del data[rng.randrange(len(data)) :]
    return bytes(data)


def raws(rng: random.Random) -> list[dict[str, Any]]:
    """Return good records with some fields replaced by odd values."""
    found = []
    for _ in range(ROWS):
        raw = rng.choice((payment(), subscription(), payment(event_type="user.login", category="user_activity")))
        raw["event_id"] = str(UUID(int=rng.getrandbits(128)))
        for _ in range(rng.choice((0, 0, 1, 2))):
            raw[rng.choice([*raw, "metadata", "extra"])] = rng.choice(VALUES)
        found.append(raw)
    return found


def json_file(rng: random.Random) -> bytes:
    return json_lines(raws(rng)).encode("utf-8", "surrogatepass")


def csv_file(rng: random.Random) -> bytes:
    separator = rng.choice(",,,;\t|")
    names = [*payment()]
    rng.shuffle(names)
    if rng.random() < 0.1:
        names.insert(0, "")
    lines = [separator.join(names)]
    for raw in raws(rng):
        texts = [csv_cell(raw.get(name, "0")) for name in names]
        cells = ['"' + text.replace('"', '""') + '"' if rng.random() < 0.5 else text for text in texts]
        lines.append(separator.join(cells))
    text = "".join(f"{line}\n" for line in lines)
    if rng.random() < 0.1:
        return text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32")), "surrogatepass")
    return text.encode("utf-8", "surrogatepass")


def csv_cell(value: object) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return "" if value is None else str(value)


def broken_texts(rng: random.Random) -> pa.Array:
    """Return texts that need not be UTF-8."""
    texts = [bytes(rng.randrange(256) for _ in range(rng.randrange(4))) for _ in range(ROWS)]
    offsets = pa.array([0, *accumulate(map(len, texts))], pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), ROWS, [None, offsets, pa.py_buffer(b"".join(texts) + b"x")])


def cells(rng: random.Random, *choices: Any) -> list[Any]:
    return [rng.choice(choices) for _ in range(ROWS)]


def integers(rng: random.Random, least: int, most: int) -> list[int]:
    return [rng.randrange(least, most) for _ in range(ROWS)]


# As far as INT96 can be written of each unit.
SPANS = {"s": 2**33, "ms": 2**43, "us": 2**53, "ns": 2**62}


def instants(rng: random.Random) -> pa.Array:
    unit, span = rng.choice(list(SPANS.items()))
    return pa.array(integers(rng, -span, span), pa.timestamp(unit, rng.choice((None, "UTC", "+05:30"))))


def decimals(rng: random.Random) -> pa.Array:
    padded = [Decimal(number).scaleb(-rng.choice((0, 2, 18, 20))) for number in integers(rng, 0, 10**12)]
    return pa.array(padded, pa.decimal128(38, 20))


BOOLEANS = (True, False, None)
MAP = pa.map_(pa.string(), pa.string())
STRUCT = pa.struct([("x", pa.int64())])
COLUMNS: tuple[Callable[[random.Random], pa.Array], ...] = (
    broken_texts,
    instants,
    decimals,
    lambda rng: pa.array(integers(rng, 0, 2**41), pa.timestamp("ms", "UTC")),
    lambda rng: pa.array(integers(rng, -(2**31), 2**31), pa.date32()),
    lambda rng: pa.array(integers(rng, 0, 2**40), pa.duration("us")),
    lambda rng: pa.array(integers(rng, 0, 2**63)),
    lambda rng: pa.array(cells(rng, 0.5, float("nan"), 1e300, -0.0, float("inf"), None), pa.float64()),
    lambda rng: pa.array(cells(rng, [("a", "x"), ("a", "y")], [("a", "x")], None), MAP),
    lambda rng: pa.array(cells(rng, [({"x": 1}, "y")], []), pa.map_(STRUCT, pa.string())),
    lambda rng: pa.array(cells(rng, [("y", {"x": 1})], []), pa.map_(pa.string(), STRUCT)),
    lambda rng: pa.array(cells(rng, {"x": None}, {"x": 1}), STRUCT),
    lambda rng: pa.array(cells(rng, b"", b"\xff", b"u", None), pa.binary()),
    lambda rng: pa.array(cells(rng, *BOOLEANS), pa.bool_()),
    lambda rng: pa.array(cells(rng, ["x"], [], None), pa.list_(pa.string())),
    lambda rng: pa.nulls(ROWS),
)


def parquet_file(rng: random.Random) -> bytes:
    good = [payment() for _ in range(ROWS)]
    columns: dict[str, Any] = {name: [raw[name] for raw in good] for name in good[0] if name != "metadata"}
    columns["timestamp"] = pa.array([datetime(2026, 1, 15, 12, tzinfo=UTC)] * ROWS, pa.timestamp("us", "UTC"))
    for _ in range(rng.choice((0, 1, 2))):
        columns[rng.choice([*columns, "metadata", "metadata"])] = rng.choice(COLUMNS)(rng)
    buffer = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        buffer,
        use_deprecated_int96_timestamps=rng.random() < 0.2,
        compression=rng.choice(("none", "snappy", "zstd")),
    )
    content = buffer.getvalue()
    return mutated(rng, content) if rng.random() < 0.6 else content


FORMATS: dict[str, Callable[[random.Random], bytes]] = {
    "jsonl": lambda rng: mutated(rng, json_file(rng)) if rng.random() < 0.7 else json_file(rng),
    "csv": lambda rng: mutated(rng, csv_file(rng)) if rng.random() < 0.7 else csv_file(rng),
    "parquet": parquet_file,
    "jsonl.gz": lambda rng: packed_file(rng, json_file, gzip.compress),
    "csv.zst": lambda rng: packed_file(rng, csv_file, zstandard.compress),
}


def packed_file(rng: random.Random, make: Callable[[random.Random], bytes], pack: Callable[[bytes], bytes]) -> bytes:
    if rng.random() < 0.3:
        return pack(mutated(rng, make(rng)))
    return mutated(rng, b"".join(pack(part) for part in re.findall(rb"(?s).{1,300}", make(rng))))


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


@pytest.mark.fuzz
@pytest.mark.parametrize("ending", FORMATS)
def test_every_record_of_a_mutated_file_is_stored_or_rejected(
    connection: Connection, tmp_path: Path, ending: str
) -> None:
    load_mutated(connection, tmp_path, ending, FILES)


@pytest.mark.fuzz
@pytest.mark.faults
@pytest.mark.endurance
@pytest.mark.parametrize("ending", FORMATS)
def test_every_record_of_ten_thousand_mutated_files_is_stored_or_rejected(
    connection: Connection, tmp_path: Path, ending: str
) -> None:
    load_mutated(connection, tmp_path, ending, 10_000 // len(FORMATS))


def load_mutated(connection: Connection, tmp_path: Path, ending: str, files: int) -> None:
    totals: Counter[str] = Counter()
    for first in range(0, files, AT_ONCE):
        sources = []
        lines = 0
        for number in range(first, min(first + AT_ONCE, files)):
            path = tmp_path / f"{number}.{ending}"
            path.write_bytes(FORMATS[ending](random.Random(f"{ending} {number}")))  # noqa: S311
            sources.append(Source.of(path))
            lines += lines_of(path.read_bytes()) if ending == "jsonl" else 0
        summary = load(connection, sources, tmp_path)
        assert summary.read == summary.new + summary.already_there + summary.rejected
        assert summary.reasons.total() == summary.rejected
        assert not summary.reasons.keys() & {UNFORESEEN, "refused by the database"}
        if first % (10 * AT_ONCE) == 0:
            again = load(connection, sources, tmp_path)
            assert (again.new, again.read, again.unreadable) == (0, summary.read, summary.unreadable)
        assert ending != "jsonl" or summary.unreadable or summary.read == lines
        totals.update(files=len(sources), read=summary.read, new=summary.new, rejected=summary.rejected)
        totals["unreadable"] += len(summary.unreadable)
        for source in sources:
            assert source.path is not None
            source.path.unlink()
    print(f"\n{ending}: {dict(totals)}")  # noqa: T201 - what it came to, with -s
    assert totals["new"]
    assert totals["rejected"]


def lines_of(content: bytes) -> int:
    """Return how many lines hold something but blanks."""
    lines = [re.sub(rb"\A\0+", b"", line) for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    return sum(1 for line in lines if line.strip(b" \t\r\n\x0b\x0c"))


def load(connection: Connection, sources: list[Source], folder: Path) -> IngestSummary:
    rejects = folder / "rejects.jsonl"
    rejects.unlink(missing_ok=True)
    try:
        return ingest(sources, connection, rejects_path=rejects)
    except SourcesUnreadableError as error:
        summary = error.summary
    assert not any("\n" in line for line in summary.unreadable)
    return summary
