"""What stands in files: their texts, whatever they are packed in, and the same files without whom is erased."""

import csv
import email
import email.policy
import gzip
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import zstandard

from analytics_pipeline.erasure.subject import Subject, object_of, without_record
from analytics_pipeline.events.erased import KEPT_FIELDS, KEPT_METADATA
from analytics_pipeline.events.exact_json import to_json
from analytics_pipeline.events.sources import Format, format_of
from analytics_pipeline.events.unpacking import packing_of

_PDF, _ZIP, _PARQUET = b"%PDF", b"PK\x03\x04", b"PAR1"
_SEPARATORS = ",;\t|"
_lines = re.compile(r"[^\n]*\n|[^\n]+")


def texts_of(name: str, content: bytes) -> Iterator[str]:
    """Yield the texts of a file: the pages of a PDF, the members of an archive, the parts of a mail, its own text."""
    if content.startswith(_PDF):
        yield from _pages(content)
    elif content.startswith(_ZIP) and zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield member
                yield from texts_of(member, archive.read(member))
    elif content.startswith(_PARQUET):
        yield from (to_json(_plain(row)) for row in _rows(content)[1])
    elif (unpacked := _unpack(content)) is not None:
        yield from texts_of(name, unpacked)
    elif name.endswith(".eml"):
        message = email.message_from_bytes(content, policy=email.policy.default)
        yield from (str(value) for value in message.values())
        for part in message.walk():
            payload = None if part.is_multipart() else part.get_payload(decode=True)
            if isinstance(payload, bytes):
                yield from texts_of(part.get_filename() or "", payload)
    else:
        yield _decoded(content)[0]


def without(subject: Subject, name: str, content: bytes) -> bytes:
    """Return a file of events or rejects without whom is erased: the very content where it names nobody.

    Records of a company are left out; of a person the ids become the pseudonym, and the metadata what figures need.
    Unpacked and packed again.
    """
    unpacked = _unpack(content)
    if unpacked is not None:
        changed = without(subject, name, unpacked)
        return content if changed == unpacked else _pack(content, changed)
    if content.startswith(_PARQUET):
        return _without_rows(subject, content)
    text, encoding = _decoded(content)
    if not subject.may_be_in(text):
        return content
    if format_of(name) is Format.CSV:
        changed_text = _without_cells(subject, text)
    else:
        changed_text = "".join(_without_line(subject, line) for line in _lines.findall(text))
    return content if changed_text == text else changed_text.encode(encoding)


def _without_line(subject: Subject, line: str) -> str:
    body = line.rstrip("\r\n")
    content = object_of(body)
    if content is None:
        return subject.text(body) + line[len(body) :]
    if subject.is_company and subject.is_record_of(content):
        return ""
    # Of files of rejects: the record as it came.
    said = {
        key: without_record(text, subject) for key in ("record", "stored") if isinstance(text := content.get(key), str)
    }
    is_theirs = any(content[key] != text for key, text in said.items())
    if is_theirs and isinstance(reason := content.get("reason"), str):
        said["reason"] = subject.text(reason, within=True)
    now = subject.json({**content, **said})
    return line if now == content else to_json(now) + line[len(body) :]


def _without_cells(subject: Subject, text: str) -> str:
    lines = _lines.findall(text)
    header_at = 1 if lines and lines[0].lower().startswith(("sep=", '"sep=')) else 0
    header = lines[header_at] if header_at < len(lines) else ""
    separator = max(_SEPARATORS, key=header.count)
    rows = list(csv.reader(io.StringIO("".join(lines[header_at:]), newline=""), delimiter=separator))
    columns = [column.strip() for column in rows[0]] if rows else []
    target = io.StringIO(newline="")
    writer = csv.writer(target, delimiter=separator, lineterminator="\r\n" if header.endswith("\r\n") else "\n")
    is_changed = False
    for row in rows:
        now = _without_row(subject, columns, row)
        is_changed |= now != row
        if now is not None:
            writer.writerow(now)
    return "".join(lines[:header_at]) + target.getvalue() if is_changed else text


def _without_row(subject: Subject, columns: Sequence[str], row: list[str]) -> list[str] | None:
    record = dict(zip(columns, row, strict=False))
    if not subject.is_record_of(record):
        # A user of another company is another person.
        is_others = not subject.is_company and record.get("company_id", subject.company_id) != subject.company_id
        return row if is_others else [subject.text(cell, alone=False) for cell in row]
    if subject.is_company:
        return None
    concealed = subject.json(record)
    return [str(concealed[column] or "") if _is_kept(column) else "" for column in columns[: len(row)]]


def _is_kept(column: str) -> bool:
    return column in KEPT_FIELDS or column == "metadata" or column.removeprefix("metadata.") in KEPT_METADATA


def _without_rows(subject: Subject, content: bytes) -> bytes:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    schema, rows = _rows(content)
    kept = [row for row in rows if not (subject.is_company and subject.is_record_of(row))]
    changed = [subject.json(row) for row in kept]
    if changed == rows:
        return content
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(changed, schema=schema), target)
    return target.getvalue()


def _rows(content: bytes) -> tuple[Any, list[dict[str, Any]]]:
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    return table.schema, table.to_pylist()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | bool) else str(value)


def _pages(content: bytes) -> Iterator[str]:
    import pypdfium2  # type: ignore[import-untyped]

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError:
        # It is none, whatever it begins with.
        yield _decoded(content)[0]
        return
    try:
        yield " ".join(document.get_metadata_dict().values())
        for number in range(len(document)):
            yield document[number].get_textpage().get_text_bounded()
    finally:
        document.close()


def _unpack(content: bytes) -> bytes | None:
    """Return what is packed, None for what isn't, or can't be unpacked."""
    packing = packing_of(content[:4])
    try:
        if packing is not None and packing.name == "gzip":
            return gzip.decompress(content)
        if packing is not None:
            return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content), read_across_frames=True).read()
    except (OSError, EOFError, zstandard.ZstdError):
        return None
    return None


def _pack(packed: bytes, content: bytes) -> bytes:
    packing = packing_of(packed[:4])
    if packing is not None and packing.name == "gzip":
        return gzip.compress(content, mtime=0)
    return zstandard.ZstdCompressor().compress(content)


def _decoded(content: bytes) -> tuple[str, str]:
    """Return the text of a file and its encoding; bytes that are none are kept as they are."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if content.startswith(mark):
            try:
                return content.decode(encoding), encoding
            except UnicodeDecodeError:
                break
    # As Latin-1 bytes that are no UTF-8 come back as they were.
    try:
        return content.decode(), "utf-8"
    except UnicodeDecodeError:
        return content.decode("latin-1"), "latin-1"
