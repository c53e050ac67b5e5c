"""Files of every format become records, each with its line; what is broken is told apart from what is bad."""

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.model import AnalyticsEvent, parse_event
from analytics_pipeline.events.readers import read_records
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.sources import Format, Source, open_source
from analytics_pipeline.intake.bounded_lines import MAX_LINE_BYTES
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline_tests.events.sample_records import json_lines, payment

CSV_HEADER = "event_id,timestamp,company_id,user_id,event_type,category,value,currency,metadata\n"
CSV_ROW = '{id},2025-01-31T23:59:59Z,acme,,payment.received,revenue,29.330,EUR,"{{""n"": 1.10}}"\n'
ID = "0b1c2d3e-1111-4222-8333-444455556666"

Read = Callable[[str, bytes], list[Record]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def write_and_read(name: str, content: bytes) -> list[Record]:
        path = tmp_path / name
        path.write_bytes(content)
        return list(records_of(path))

    return write_and_read


def records_of(path: Path) -> Iterator[Record]:
    source = Source.of(path)
    with open_source(source) as opened:
        yield from read_records(opened, source.format, source.name)


def event_of(record: Record) -> AnalyticsEvent:
    assert not isinstance(record.content, RejectedEvent), record.content
    return parse_event(record.content)


def kind_of(record: Record) -> str:
    assert isinstance(record.content, RejectedEvent)
    return record.content.kind


def parquet_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def test_json_lines_keep_their_numbers_over_blank_lines_and_a_byte_order_mark(read: Read) -> None:
    records = read("a.jsonl", b"\xef\xbb\xbf" + b'{"a": 1.10}\n\n  \r\n{"a": 2}\r\n{"a": 3}')
    assert [(record.line, record.content) for record in records] == [
        (1, {"a": Decimal("1.10")}),
        (4, {"a": 2}),
        (5, {"a": 3}),
    ]


def test_gzip_is_recognised_by_its_content(read: Read) -> None:
    packed = gzip.compress(b'{"a": 1}\n') + gzip.compress(b'{"a": 2}\n')
    assert [record.content for record in read("a.jsonl.gz", packed)] == [{"a": 1}, {"a": 2}]
    assert [record.content for record in read("named-otherwise.jsonl", packed)] == [{"a": 1}, {"a": 2}]


def test_a_broken_line_is_rejected_and_the_next_one_read(read: Read) -> None:
    records = read("a.jsonl", b'{"a": "\xff"}\n[1]\n{"a"\n{"a": 1}\n')
    assert [kind_of(record) for record in records[:3]] == ["not UTF-8", "not an object", "not JSON"]
    assert records[3].content == {"a": 1}
    assert records[0].text == '{"a": "\\xff"}'


def test_an_over_long_line_is_rejected_cut_and_the_next_one_read(read: Read) -> None:
    long = b'{"a": "' + b"x" * (3 * MAX_LINE_BYTES) + b'"}\n'
    for name in ("a.jsonl", "a.csv"):
        header = CSV_HEADER.encode() if name == "a.csv" else b""
        records = read(name, header + long + b'{"a": 1}\n')
        assert [kind_of(record) for record in records[:1]] == ["line too long"]
        assert len(records[0].text) <= MAX_LINE_BYTES
        assert records[1].line == records[0].line + 1


def test_csv_rows_are_events_with_empty_cells_as_null(read: Read) -> None:
    records = read("a.csv", b"\xef\xbb\xbf" + (CSV_HEADER + CSV_ROW.format(id=ID)).encode())
    event = event_of(records[0])
    assert records[0].line == 2
    assert str(event.value) == "29.330"
    assert event.user_id is None
    assert event.metadata == {"n": Decimal("1.10")}


def test_a_bad_csv_row_is_rejected_with_its_text_and_the_next_one_read(read: Read) -> None:
    good = CSV_ROW.format(id=ID)
    bad = [
        ("too,few\n", "wrong number of cells"),
        ('"a"b,c\n', "not CSV"),
        (good.replace('""n""', "n"), "metadata: not JSON"),
        (good.replace("acme", "ac\udcffme"), "not UTF-8"),
    ]
    content = CSV_HEADER + "".join(row + "\n" + good for row, _ in bad)
    records = read("a.csv", content.encode(errors="surrogateescape"))
    assert [kind_of(record) for record in records[::2]] == [kind for _, kind in bad]
    assert [record.line for record in records] == [2, 4, 5, 7, 8, 10, 11, 13]
    assert records[0].text == "too,few"
    assert all(event_of(record) for record in records[1::2])


@pytest.mark.slow
def test_a_lost_quote_loses_no_text_and_does_not_swallow_the_whole_file(read: Read) -> None:
    good = CSV_ROW.format(id=ID)
    content = CSV_HEADER + good.replace('""n"": 1.10}"', '""n"": 1.10}') + good * 3_000
    records = read("a.csv", content.encode())
    kinds = {kind_of(record) for record in records if isinstance(record.content, RejectedEvent)}
    assert kinds == {"not CSV"}
    assert sum(1 for record in records if not isinstance(record.content, RejectedEvent)) > 1_000
    assert CSV_HEADER + "".join(f"{record.text}\n" for record in records) == content


def test_a_csv_cell_may_hold_line_ends(read: Read) -> None:
    row = CSV_ROW.format(id=ID).replace("{", "{\n")
    records = read("a.csv", (CSV_HEADER + row + row).encode())
    assert [record.line for record in records] == [2, 4]
    assert event_of(records[1]).metadata == {"n": Decimal("1.10")}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("", "lacks the column"),
        ("event_id,timestamp,company_id,event_type\n", "lacks the column category"),
        (CSV_HEADER.replace("metadata", "amount"), "the column 'amount'"),
        (CSV_HEADER.replace("metadata", "value"), "the column value twice"),
    ],
)
def test_a_file_whose_columns_are_not_those_of_events_is_refused(read: Read, header: str, words: str) -> None:
    with pytest.raises(AnalyticsError, match=words):
        read("a.csv", header.encode())


def test_parquet_columns_of_many_types_become_events(read: Read) -> None:
    raws = [payment(value=Decimal("29.330")), payment(value=None, event_type="payment.disputed", user_id=None)]
    table = pa.table(
        {
            name: pa.array([raw[name] for raw in raws], kind)
            for name, kind in {
                "event_id": pa.string(),
                "company_id": pa.dictionary(pa.int32(), pa.string()),
                "user_id": pa.large_string(),
                "event_type": pa.string(),
                "category": pa.string(),
                "value": pa.decimal128(20, 3),
                "currency": pa.string(),
                "metadata": pa.struct([("method", pa.string())]),
            }.items()
        }
    )
    instant = datetime(2025, 1, 31, 22, 59, 59, 120000, tzinfo=UTC)
    for unit, zone in (("us", "UTC"), ("ns", "+00:00"), ("ms", "Europe/Berlin")):
        stamped = table.append_column("timestamp", pa.array([instant, instant], pa.timestamp(unit, zone)))
        first, second = read("a.parquet", parquet_bytes(stamped))
        assert (first.line, second.line) == (1, 2)
        assert event_of(first).timestamp == instant
        assert str(event_of(first).value) == "29.330"
        assert event_of(first).metadata == {"method": "card"}
        assert event_of(second).value is None


def test_parquet_values_that_would_lose_something_are_rejected(read: Read) -> None:
    raws = [payment() for _ in range(4)]
    columns = {name: [raw[name] for raw in raws] for name in raws[0] if name not in ("value", "timestamp", "metadata")}
    columns["value"] = [29.33, 0.1 + 0.2, 29.33, 29.33]
    columns["metadata"] = ["{}", "{}", "{", "[]"]
    naive = pa.array([datetime(2025, 1, 1)] * 4, pa.timestamp("us"))  # noqa: DTZ001 - the point of it
    records = read("a.parquet", parquet_bytes(pa.table({**columns, "timestamp": ["2025-01-01T00:00Z"] * 4})))
    assert event_of(records[0]).value == Decimal("29.33")
    with pytest.raises(RejectedEvent, match="binary fraction"):
        event_of(records[1])
    assert kind_of(records[2]) == "metadata: not JSON"
    with pytest.raises(RejectedEvent, match="not an object"):
        event_of(records[3])
    records = read("a.parquet", parquet_bytes(pa.table({**columns, "timestamp": naive})))
    with pytest.raises(RejectedEvent, match="no time zone"):
        event_of(records[0])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.parquet", b"PAR1 and nothing more"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)[:-10]),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)[:20] + b"\0" * 20),
    ],
)
def test_a_damaged_file_is_reported_in_one_line(read: Read, name: str, content: bytes) -> None:
    with pytest.raises(AnalyticsError, match=r"a\.\w+.* is damaged or not") as raised:
        read(name, content)
    assert "\n" not in str(raised.value)


def test_a_source_without_format_or_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(AnalyticsError, match="--format"):
        Source.of(tmp_path / "a.txt")
    with pytest.raises(AnalyticsError, match="--format"):
        Source.of("-")
    with pytest.raises(AnalyticsError, match="not a file"):
        Source.of(tmp_path)
    assert Source.of(tmp_path / "a.txt", Format.CSV).format is Format.CSV


PEAK_MEMORY = """
import sys, tracemalloc
from analytics_pipeline.events.model import parse_event
from analytics_pipeline.events.readers import read_records
from analytics_pipeline.events.sources import Source, open_source
source = Source.of(sys.argv[1])
tracemalloc.start()
with open_source(source) as opened:
    for record in read_records(opened, source.format, source.name):
        parse_event(record.content)
print(tracemalloc.get_traced_memory()[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "csv", "parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, ending: str) -> None:
    def peak_of(count: int) -> int:
        path = tmp_path / f"{count}.{ending}"
        raws = [payment(metadata={"note": "x" * 200}) for _ in range(100)] * (count // 100)
        if ending == "parquet":
            texts = [{**raw, "metadata": json.dumps(raw["metadata"])} for raw in raws]
            pq.write_table(pa.Table.from_pylist(texts), path, row_group_size=3_000)
        elif ending == "csv":
            path.write_text(CSV_HEADER + CSV_ROW.format(id=ID) * count)
        else:
            content = json_lines(raws).encode()
            path.write_bytes(gzip.compress(content, 1) if ending == "jsonl.gz" else content)
        done = subprocess.run([sys.executable, "-c", PEAK_MEMORY, path], check=True, capture_output=True, text=True)
        return int(done.stdout)

    # The bound is a small part of what the larger file would take: 12,000 events are 12 MB as Python objects.
    assert peak_of(12_000) < peak_of(3_000) + 2_000_000
