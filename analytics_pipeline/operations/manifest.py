"""The manifest of a backup: what its files are, and what is in the databases that they hold.

It is written last: a folder without one is no backup. Instants are ISO 8601 in UTC, exact numbers are texts.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter, ValidationError

from analytics_pipeline.errors import AnalyticsError

MANIFEST = "manifest.json"
FORMAT = 1
_MAX_DIFFERENCES = 10


class Kind(StrEnum):
    """What a backup is of: a database server, the embedded database, or the events alone."""

    SERVER = "server"
    EMBEDDED = "embedded"
    EVENTS = "events"


@dataclass(frozen=True, slots=True)
class BackupFile:
    """A file of the backup; ``rows`` of events where it holds events alone."""

    name: str
    bytes: int
    sha256: str
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class TableCount:
    """Rows of a table, and the sum of a hash of each; of a hypertable the first and the last time in it, too."""

    name: str
    rows: int
    checksum: str
    first: str | None = None
    last: str | None = None


@dataclass(frozen=True, slots=True)
class ChunkCount:
    """The same of a chunk ``[start, end)`` of a hypertable; ``total`` is the sum of the events' values."""

    table: str
    start: str
    end: str
    rows: int
    checksum: str
    compressed: bool
    total: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyState:
    """A policy of TimescaleDB, or a job of somebody's own: ``relation`` is empty without one."""

    job_id: int
    procedure: str
    relation: str
    config: Mapping[str, str]
    scheduled: bool


@dataclass(frozen=True, slots=True)
class MonthFigures:
    """The figures of all companies of a month, computed anew by the functions of the database."""

    month: str
    figures: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Content:
    """What a database holds."""

    tables: tuple[TableCount, ...]
    chunks: tuple[ChunkCount, ...] = ()
    policies: tuple[PolicyState, ...] = ()
    figures: tuple[MonthFigures, ...] = ()

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(table.rows for table in self.tables)


@dataclass(frozen=True, slots=True)
class StoredDatabase:
    """A database of the backup: the file that holds it, the server it comes from, and what is in it.

    ``roles`` own or may use something in it; ``settings`` are those of the database itself. ``engine`` is the package
    whose data directory it is, of an embedded database.
    """

    file: str
    postgresql: str
    content: Content
    roles: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    engine: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A backup. ``schema`` is the newest migration of the database, ``currency`` that of its figures."""

    name: str
    kind: Kind
    started_at: str
    finished_at: str
    program: str
    timescaledb: str
    schema: int
    currency: str
    files: tuple[BackupFile, ...]
    database: StoredDatabase | None = None
    dagster: StoredDatabase | None = None
    format: int = FORMAT

    @property
    def bytes(self) -> int:
        """The size of the files together."""
        return sum(file.bytes for file in self.files)

    def file(self, name: str) -> BackupFile:
        """Return the entry of a file; raises ``LookupError`` without one."""
        found = next((file for file in self.files if file.name == name), None)
        if found is None:
            raise LookupError(name)
        return found


_MANIFESTS = TypeAdapter(Manifest)


def write_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as JSON, with a checksum of itself."""
    content: dict[str, Any] = asdict(manifest)
    return json.dumps({**content, "checksum": _checksum(content)}, indent=1).encode()


def read_manifest(text: bytes, where: str) -> Manifest:
    """Return the manifest; raises ``AnalyticsError`` naming ``where`` for a damaged one, or one of a newer program."""
    try:
        content = json.loads(text)
        checksum = content.pop("checksum")
        if content["format"] > FORMAT:
            raise AnalyticsError(f"{where} was written by a newer release of this program: update the program.")
        if checksum != _checksum(content):
            raise AnalyticsError(f"{where} is damaged: its checksum is another. Use another backup.")
        return _MANIFESTS.validate_python(content)
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise AnalyticsError(f"{where} is damaged: it can't be read as a manifest. Use another backup.") from error


def differences(wanted: Content, found: Content) -> list[str]:
    """Return in what a database differs from what a backup of it says, a sentence without full stop each.

    That policies are switched off is no difference.
    """
    lines = [*_compare_tables(wanted, found), *_compare_chunks(wanted, found)]
    lines += _compare_policies(wanted, found)
    lines += _compare_figures(wanted, found)
    more = len(lines) - _MAX_DIFFERENCES
    return lines if more <= 0 else [*lines[:_MAX_DIFFERENCES], f"and {more} differences more"]


def _compare_tables(wanted: Content, found: Content) -> Iterator[str]:
    tables = {table.name: table for table in found.tables}
    for table in wanted.tables:
        other = tables.pop(table.name, None)
        if other is None:
            yield f"the table {table.name} is missing"
        elif other.rows != table.rows:
            yield f"{table.name} has {other.rows:,} rows, {table.rows:,} in the backup"
        elif other != table:
            yield f"{table.name} holds other values than in the backup"
    for name in tables:
        yield f"the table {name} is not in the backup"


def _compare_chunks(wanted: Content, found: Content) -> Iterator[str]:
    chunks = {(chunk.table, chunk.start): chunk for chunk in found.chunks}
    for chunk in wanted.chunks:
        what = f"the chunk of {chunk.table} from {chunk.start}"
        other = chunks.pop((chunk.table, chunk.start), None)
        if other is None:
            yield f"{what} is missing"
        elif other.rows != chunk.rows:
            yield f"{what} has {other.rows:,} rows, {chunk.rows:,} in the backup"
        elif other.compressed != chunk.compressed:
            yield f"{what} is {'' if other.compressed else 'not '}compressed, unlike in the backup"
        elif other != chunk:
            yield f"{what} holds other values than in the backup"
    for table, start in chunks:
        yield f"the chunk of {table} from {start} is not in the backup"


def _compare_policies(wanted: Content, found: Content) -> Iterator[str]:
    policies = {policy.job_id: replace(policy, scheduled=False) for policy in found.policies}
    for policy in wanted.policies:
        if policies.pop(policy.job_id, None) != replace(policy, scheduled=False):
            yield f"{policy.procedure} of {policy.relation or 'no relation'} is missing, or another one"
    for policy in policies.values():
        yield f"{policy.procedure} of {policy.relation or 'no relation'} is not in the backup"


def _compare_figures(wanted: Content, found: Content) -> Iterator[str]:
    months = {month.month: month.figures for month in found.figures}
    for month in wanted.figures:
        other = months.get(month.month, {})
        for name, value in month.figures.items():
            if other.get(name) != value:
                yield f"{name} of {month.month} is {other.get(name)}, {value} in the backup"


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
