"""Files as exporters write them: each goes in as far as it can be read, and what is odd about it is said."""

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import zstandard
from click.testing import CliRunner

from analytics_pipeline.cli.ingest import ingest as ingest_command
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.exact_json import parse_json
from analytics_pipeline.events.ids import NAMESPACE
from analytics_pipeline.events.ingest import IngestSummary, SourcesUnreadableError, ingest
from analytics_pipeline.events.instants import CUT, zone_named
from analytics_pipeline.events.model import Parsing, parse_event
from analytics_pipeline.events.readers import read_records
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.sources import Source, open_source
from analytics_pipeline.intake.bounded_lines import MAX_LINE_BYTES
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment

DATA = Path(__file__).parent / "data"
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
HEADER = ["event_id", "timestamp", "company_id", "user_id", "event_type", "category", "value", "currency", "metadata"]


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


def load(connection: Connection, path: Path, **options: Any) -> tuple[IngestSummary, str]:
    """Ingest a file and return the summary, and what is said of one that can't be read to its end."""
    try:
        return ingest([Source.of(path)], connection, rejects_path=path.parent / "rejects.jsonl", **options), ""
    except SourcesUnreadableError as error:
        return error.summary, str(error)


def copy_of(name: str, folder: Path) -> Path:
    path = folder / name
    path.write_bytes((DATA / name).read_bytes())
    return path


def records_of(path: Path, encoding: str | None = None) -> Iterator[Record]:
    source = Source.of(path, encoding=encoding)
    with open_source(source) as opened:
        yield from read_records(opened, source.format, source.name)


def until_damage(path: Path) -> tuple[list[Record], str]:
    """Return the records that can be read, and why no more can be."""
    records: list[Record] = []
    try:
        records.extend(records_of(path))
    except AnalyticsError as error:
        return records, str(error)
    return records, ""


def kinds(path: Path, encoding: str | None = None) -> list[str | None]:
    """Return of each record why it is none, None for an event."""
    found: list[str | None] = []
    for record in records_of(path, encoding):
        if isinstance(record.content, RejectedEvent):
            found.append(record.content.kind)
            continue
        try:
            parse_event(record.content)
            found.append(None)
        except RejectedEvent as rejection:
            found.append(rejection.kind)
    return found


def csv_text(separator: str = ",", header: list[str] | None = None, **changes: str) -> str:
    """Return CSV of one payment."""
    raw = {**payment(), "metadata": "", **changes}
    row = [str(raw.get(name, "")) for name in header or HEADER]
    return "".join(separator.join(cells) + "\n" for cells in (header or HEADER, row))


def parquet(path: Path, **columns: pa.Array) -> Path:
    """Write as many payments as the columns have cells, which take the place of the usual ones."""
    count = len(next(iter(columns.values())))
    raws = [payment() for _ in range(count)]
    usual = {name: [raw[name] for raw in raws] for name in HEADER if name not in (*columns, "metadata")}
    pq.write_table(pa.table({**usual, **columns}), path)
    return path


def test_every_form_of_an_instant_goes_in_and_what_was_cut_is_counted(connection: Connection, tmp_path: Path) -> None:
    summary, _ = load(connection, copy_of("instants.jsonl", tmp_path))
    assert (summary.new, summary.rejected, summary.adjusted[CUT]) == (8, 0, 2)
    rows: dict[str, datetime] = dict(connection.execute('SELECT user_id, "timestamp" FROM analytics_events').fetchall())
    assert rows["u2"] == datetime(2026, 1, 15, 6, 30, tzinfo=UTC)
    assert rows["u6"] == rows["u7"] == NOON.replace(microsecond=123_456)
    assert rows["u8"] == datetime(2026, 1, 16, tzinfo=UTC)


def test_the_summary_counts_what_was_cut(database: Database) -> None:
    result = CliRunner().invoke(ingest_command, [str(DATA / "instants.jsonl"), "--json"], catch_exceptions=False)
    assert (result.exit_code, json.loads(result.stdout)["timestampsCut"]) == (0, 2)
    assert "cut instants" in CliRunner().invoke(ingest_command, [str(DATA / "instants.jsonl")]).stdout


def test_a_copy_of_postgresql_goes_in(connection: Connection, tmp_path: Path) -> None:
    summary, _ = load(connection, copy_of("postgres_copy.csv", tmp_path))
    assert (summary.new, summary.rejected) == (2, 0)


def test_any_text_is_an_id_and_the_same_file_again_changes_nothing(connection: Connection, tmp_path: Path) -> None:
    path = copy_of("ids.jsonl", tmp_path)
    for new in (5, 0):
        summary, _ = load(connection, path)
        assert (summary.new, summary.already_there, summary.rejected) == (new, 5 - new, 0)
    rows = connection.execute(
        "SELECT user_id, event_id, metadata ->> 'source_id' FROM analytics_events ORDER BY user_id"
    ).fetchall()
    expected = {
        "u9": "evt_1ABCdefGHIjklMNOpqrstuv",
        "u10": "01HZY8Q4W5V3T2S1R0QPNMLKJH",
        "u12": "123456789",
    }
    for user, event_id, source_id in rows:
        assert source_id == expected.get(user)
        if user in expected:
            assert event_id == uuid5(NAMESPACE, f'["c1","{expected[user]}"]')
    assert ("u11", UUID("0f8fad5b-d9cb-469f-a165-70867728950e"), None) in rows
    assert ("4711", UUID("77ebd59c-7253-54bd-bd3e-54725e703cf6"), None) in rows


def test_two_companies_may_use_one_id(connection: Connection, tmp_path: Path) -> None:
    summary, _ = load(connection, copy_of("ids_two_companies.jsonl", tmp_path))
    assert (summary.new, summary.rejected) == (2, 0)


def test_integers_keep_every_digit_as_ids() -> None:
    raw = parse_json('{"event_id": 12345678901234567891, "user_id": 9007199254740993}')
    assert isinstance(raw, dict)
    event = parse_event({**payment(), **raw})
    assert (event.metadata["source_id"], event.user_id) == ("12345678901234567891", "9007199254740993")
    assert parse_event(payment(event_id="{0F8FAD5B-D9CB-469F-A165-70867728950E}")).event_id == UUID(
        "0f8fad5b-d9cb-469f-a165-70867728950e"
    )


def test_ids_are_stored_in_one_normal_form(connection: Connection, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    raw = payment(company_id=decomposed, user_id=decomposed, event_id="17")
    path.write_text(json_lines([raw, {**raw, "company_id": composed, "user_id": composed}]))
    summary, _ = load(connection, path)
    assert (summary.new, summary.already_there) == (1, 1)
    assert connection.execute("SELECT company_id, user_id FROM analytics_events").fetchall() == [(composed, composed)]


def test_trailing_zeros_are_no_digits() -> None:
    for text, value in (
        ("0.07000000000000000000", "0.07"),
        ("12.50000000000000000000", "12.5"),
        ("0E-19", "0"),
        ("0." + "0" * 40, "0"),
        ("1" + "0" * 19 + "." + "0" * 30, "1" + "0" * 19),
        ("0e999", "0"),
    ):
        for raw in (text, Decimal(text)):
            assert str(parse_event(payment(value=raw)).value) == value
    assert str(parse_event(payment(value="29.330")).value) == "29.330", "digits that fit are left as they are"


def test_padded_decimals_of_parquet_go_in(connection: Connection, tmp_path: Path) -> None:
    summary, _ = load(connection, copy_of("padded_decimals.parquet", tmp_path))
    assert (summary.new, summary.rejected) == (2, 0)
    assert connection.execute("SELECT value FROM analytics_events ORDER BY value").fetchall() == [
        (Decimal(0),),
        (Decimal("12.5"),),
    ]


def test_not_a_number_is_null_where_no_amount_is_needed(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "a.parquet",
        value=pa.array([float("nan"), 1.5, float("nan")]),
        event_type=pa.array(["payment.disputed", "payment.received", "payment.received"]),
    )
    first, second, third = (record.content for record in records_of(path))
    assert not isinstance(first, RejectedEvent)
    assert parse_event(first).value is None
    assert not isinstance(second, RejectedEvent)
    assert parse_event(second).value == Decimal("1.5")
    assert not isinstance(third, RejectedEvent)
    with pytest.raises(RejectedEvent, match="not a finite number"):
        parse_event(third)


def test_spark_timestamps_are_in_utc(connection: Connection, tmp_path: Path) -> None:
    summary, _ = load(connection, copy_of("int96.parquet", tmp_path))
    assert (summary.new, summary.first, summary.last) == (2, NOON, NOON)


def test_int96_beyond_nanoseconds_is_no_other_year(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    far = datetime(2600, 1, 1, tzinfo=UTC)
    raw = {name: [value] for name, value in payment().items() if name not in ("timestamp", "metadata")}
    table = pa.table({**raw, "timestamp": pa.array([far], pa.timestamp("us"))})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    (record,) = records_of(path)
    assert not isinstance(record.content, RejectedEvent)
    assert parse_event(record.content).timestamp == far


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_timestamps_of_any_unit_go_in(tmp_path: Path, unit: str) -> None:
    for kind, zone in ((pa.timestamp(unit, "UTC"), None), (pa.timestamp(unit), zone_named("UTC"))):
        (record,) = records_of(parquet(tmp_path / "a.parquet", timestamp=pa.array([NOON], kind)))
        assert not isinstance(record.content, RejectedEvent)
        assert parse_event(record.content, parsing=Parsing(zone)).timestamp == NOON


def test_a_cell_that_cannot_be_read_rejects_its_row(connection: Connection, tmp_path: Path) -> None:
    for name, kind in (("not_utf8", "not UTF-8"), ("map_repeated_key", "key twice in one object")):
        summary, unreadable = load(connection, copy_of(f"{name}.parquet", tmp_path))
        assert (summary.new, dict(summary.reasons), unreadable) == (1, {kind: 1}, "")
    reasons = connection.execute("SELECT record FROM analytics_ingest_rejects WHERE kind = 'not UTF-8'").fetchall()
    assert "\\xfc" in reasons[0][0]


BROKEN_TEXT = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.array([0, 1, 3], pa.int32()).buffers()[1], pa.py_buffer(b"\xffu1")]
)
UNREADABLE_CELLS = {
    "text": ("user_id", BROKEN_TEXT),
    "binary": ("user_id", pa.array([b"\xff", b"u1"])),
    "date": ("timestamp", pa.array([2**60, 0], pa.timestamp("ms", "UTC"))),
    "date in metadata": ("metadata", pa.array([{"d": 2**31 - 1}, {"d": None}], pa.struct([("d", pa.date32())]))),
    "struct as key": (
        "metadata",
        pa.array([[({"x": 1}, "v")], []], pa.map_(pa.struct([("x", pa.int64())]), pa.string())),
    ),
}


@pytest.mark.parametrize("name", UNREADABLE_CELLS)
def test_no_cell_keeps_other_rows_out(tmp_path: Path, name: str) -> None:
    column, cells = UNREADABLE_CELLS[name]
    first, second = kinds(parquet(tmp_path / "a.parquet", **{column: cells}))
    assert first is not None
    assert (second is None) or name == "date"


def test_a_map_holding_structs_is_read(tmp_path: Path) -> None:
    cells = pa.array([[("a", {"x": 1})]], pa.map_(pa.string(), pa.struct([("x", pa.int64())])))
    (record,) = records_of(parquet(tmp_path / "a.parquet", metadata=cells))
    assert not isinstance(record.content, RejectedEvent)
    assert record.content["metadata"] == {"a": {"x": 1}}


def test_bytes_behind_the_packed_data_are_said(connection: Connection, tmp_path: Path) -> None:
    summary, unreadable = load(connection, copy_of("trailing.jsonl.gz", tmp_path))
    assert (summary.new, summary.rejected) == (3, 0)
    assert "trailing.jsonl.gz is damaged" in unreadable


def test_every_whole_line_before_a_cut_goes_in(connection: Connection, tmp_path: Path) -> None:
    summary, unreadable = load(connection, copy_of("truncated.jsonl.gz", tmp_path))
    packed = (DATA / "truncated.jsonl.gz").read_bytes()
    whole = zlib.decompressobj(wbits=31).decompress(packed).count(b"\n")
    assert (summary.new, dict(summary.reasons)) == (whole, {"cut off": 1})
    assert "ends in the middle" in unreadable


def test_a_damaged_file_says_so_beside_the_summary_and_keeps_no_other_file_out(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "b.jsonl").write_text(json_lines([payment()]))
    result = CliRunner().invoke(ingest_command, [str(DATA / "trailing.jsonl.gz"), str(tmp_path / "b.jsonl"), "--json"])
    assert isinstance(result.exception, AnalyticsError)
    figures = json.loads(result.stdout)
    assert (figures["new"], figures["unreadable"]) == (4, [str(result.exception)])


def pack(packing: str, content: bytes) -> bytes:
    return gzip.compress(content) if packing == "gz" else zstandard.compress(content)


@pytest.mark.parametrize("packing", ["gz", "zst"])
@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_packed_files_are_read_whatever_the_case_of_their_endings(tmp_path: Path, packing: str, ending: str) -> None:
    if ending == "parquet":
        content = parquet(tmp_path / "plain.parquet", user_id=pa.array(["u"])).read_bytes()
    else:
        content = (json_lines([payment()]) if ending == "jsonl" else csv_text()).encode()
    for name in (f"a.{ending}.{packing}", f"A.{ending.upper()}.{packing.upper()}"):
        (tmp_path / name).write_bytes(pack(packing, content))
        assert kinds(tmp_path / name) == [None]


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_members_are_one_file_and_each_may_begin_with_a_byte_order_mark(tmp_path: Path, packing: str) -> None:
    line = json_lines([payment()]).encode()
    path = tmp_path / f"a.jsonl.{packing}"
    members = [codecs.BOM_UTF8 + line, codecs.BOM_UTF8 + line.strip(), codecs.BOM_UTF8 + line, line[:20], line[20:]]
    note = b"\x50\x2a\x4d\x18\x04\0\0\0note" if packing == "zst" else b""
    path.write_bytes(note + b"".join(pack(packing, member) for member in members) + bytes(7))
    assert kinds(path) == [None] * 4
    (tmp_path / "b.jsonl").write_bytes((codecs.BOM_UTF8 + line) * 2)
    assert kinds(tmp_path / "b.jsonl") == [None, None], "not packed, and appended to one another"


@pytest.mark.parametrize("packing", ["gz", "zst"])
@pytest.mark.parametrize("damage", ["cut", "trailing bytes", "checksum"])
def test_damage_costs_no_whole_line(tmp_path: Path, packing: str, damage: str) -> None:
    content = json_lines(payment(metadata={"n": n}) for n in range(2_000)).encode()
    packed = (
        gzip.compress(content) if packing == "gz" else zstandard.ZstdCompressor(write_checksum=True).compress(content)
    )
    whole = 2_000
    if damage == "cut":
        packed = packed[: len(packed) // 2]
        whole = 1
    elif damage == "trailing bytes":
        packed += b"what is this"
    else:
        packed = packed[:-6] + bytes(byte ^ 255 for byte in packed[-6:-4]) + packed[-4:]
    path = tmp_path / f"a.jsonl.{packing}"
    path.write_bytes(packed)
    records, problem = until_damage(path)
    assert "is damaged" in problem
    events = sum(not isinstance(record.content, RejectedEvent) for record in records)
    assert events >= (whole if damage != "checksum" or packing == "gz" else 1)


def test_a_row_that_damage_has_cut_is_no_event(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    text = csv_text(header=[*HEADER[:6], "currency", "value"], value="1234567.89")
    path.write_bytes(gzip.compress(text.encode()[:-4])[:-8])
    (record,), problem = until_damage(path)
    assert "is damaged" in problem
    assert isinstance(record.content, RejectedEvent)
    assert record.content.kind == "cut off"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_header_tells_what_separates_cells(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(csv_text(separator))
    assert kinds(path) == [None]
    path.write_text(f"sep={separator}\r\n" + csv_text(separator))
    assert kinds(path) == [None]
    assert [record.line for record in records_of(path)] == [3]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_other_encodings_are_read_where_they_are_said(tmp_path: Path, encoding: str, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    text = csv_text(company_id="Größe") if ending == "csv" else json_lines([payment()]).replace("acme", "Größe")
    path.write_bytes(text.encode(encoding))
    if encoding in ("utf-16", "utf-32"):
        assert kinds(path) == [None]
    elif encoding == "cp1252":
        assert kinds(path) == ["not UTF-8"]
    else:
        with pytest.raises(AnalyticsError, match=f"add --encoding {encoding}"):
            kinds(path)
    (record,) = records_of(path, encoding)
    assert not isinstance(record.content, RejectedEvent)
    assert record.content["company_id"] == "Größe"


def test_what_is_no_text_of_the_encoding_rejects_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = json_lines([payment()])
    bad = good.encode("utf-16-le").replace("acme".encode("utf-16-le"), b"a\0\x00\xd8e\0")
    path.write_bytes(codecs.BOM_UTF16_LE + bad + good.encode("utf-16-le") + b"x")
    assert kinds(path) == ["not UTF-8", None, "not UTF-8"]
    with pytest.raises(AnalyticsError, match="is no encoding of text"):
        Source.of(path, encoding="base64")


def test_the_number_of_a_row_is_no_field(tmp_path: Path) -> None:
    for name in ("", "Unnamed: 0"):
        path = tmp_path / "a.csv"
        header, row = csv_text().splitlines()
        path.write_text(f"{name},{header}\n0,{row}\n")
        assert kinds(path) == [None]
    assert kinds(parquet(tmp_path / "a.parquet", __index_level_0__=pa.array([0, 1]))) == [None, None]


@pytest.mark.slow
def test_a_cell_may_be_as_long_as_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    note = '"{""note"": """"' + " " * 200_000 + '}"'
    path.write_text(csv_text(metadata=note))
    assert kinds(path) == [None]
    header, row = csv_text().splitlines()
    lost = row + '"' + "\n" + "x,\n" * MAX_LINE_BYTES
    path.write_text(f"{header}\n{lost}")
    longest = max(len(record.raw) for record in records_of(path) if isinstance(record.raw, bytes))
    assert longest <= MAX_LINE_BYTES + 3


def test_a_decimal_comma_is_read_where_it_is_said(connection: Connection, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(csv_text(";", value="12,50"))
    summary, _ = load(connection, path)
    assert dict(summary.reasons) == {"value has a decimal comma": 1}
    summary, _ = load(connection, path, parsing=Parsing(decimal_comma=True))
    assert summary.new == 1
    assert connection.execute("SELECT value FROM analytics_events").fetchall() == [(Decimal("12.50"),)]
    for ambiguous in ("1.250", "1.250,00"):
        with pytest.raises(RejectedEvent, match="not a number"):
            parse_event(payment(value=ambiguous), parsing=Parsing(decimal_comma=True))


def test_a_reader_that_fails_is_one_named_failure_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "a.parquet", user_id=pa.array(["u"]))

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of any\nkind")

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fail)
    with pytest.raises(AnalyticsError, match=r"a.parquet is damaged or not parquet: of any kind\."):
        list(records_of(path))


def test_what_the_database_refuses_keeps_no_other_event_out(connection: Connection, tmp_path: Path) -> None:
    connection.execute("ALTER TABLE analytics_events ADD CONSTRAINT not_700 CHECK (user_id <> 'u-700')")
    path = tmp_path / "a.jsonl"
    path.write_text(json_lines(payment(user_id=f"u-{n}") for n in range(1_000)))
    summary, _ = load(connection, path)
    assert (summary.new, dict(summary.reasons)) == (999, {"refused by the database": 1})
    connection.execute("ALTER TABLE analytics_events DROP CONSTRAINT not_700")


@pytest.mark.parametrize("reader", ["jsonl", "csv", "parquet"])
@pytest.mark.slow
def test_a_record_of_many_keys_takes_time_for_each_once(tmp_path: Path, reader: str) -> None:
    """Names are looked up, not counted: 40,000 of them are compared far fewer times than their number squared."""
    comparisons = 0

    class Name(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal comparisons
            comparisons += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    from analytics_pipeline.events import exact_json

    names = [Name(f"k{n}") for n in range(40_000)] + [Name("k39999")]
    with pytest.raises(RejectedEvent, match="'k39999' occurs twice"):
        exact_json._object([(name, 1) for name in names])
    assert comparisons < 1_000_000
    text = "{" + ",".join(f'"{name}":1' for name in names) + "}"
    path = tmp_path / f"a.{reader}"
    if reader == "jsonl":
        path.write_text(f"{text}\n")
    elif reader == "csv":
        path.write_text(csv_text(metadata='"' + text.replace('"', '""') + '"'))
    else:
        parquet(path, metadata=pa.array([[(name, 1) for name in names]], pa.map_(pa.string(), pa.int64())))
    ((kind),) = kinds(path)
    assert kind is not None
    assert "key twice in one object" in kind
