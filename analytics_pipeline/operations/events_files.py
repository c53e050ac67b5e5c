"""The events alone, as Parquet files of a month each: written like a backup, and brought back by ordinary ingestion.

They go into any migrated database, also one of another version, or one that holds events: what is there is recognised,
and what contradicts it is a conflict, as with any other file. ``ingested_at`` is that of the new database.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from analytics_pipeline.database import connect
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.contradictions import OnConflict
from analytics_pipeline.events.ingest import IngestSummary, ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.operations.backup import Say, writing_backup
from analytics_pipeline.operations.manifest import BackupFile, Kind, Manifest
from analytics_pipeline.operations.places import Backup
from analytics_pipeline.operations.row_counts import settle_session
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row, one_state
from analytics_pipeline.timescale.migrations import schema_version
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.windows import Granularity, Window

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

PREFIX = "events"
_TEXTS = ("company_id", "user_id", "event_type", "category", "value", "currency", "metadata")


def export_events(settings: Settings, root: str, say: Say) -> Backup:
    """Write all events into a new folder of a place, and return it; they are read as of one instant.

    Raises ``AnalyticsError`` when the database holds no events, and when the place can't be written.
    """
    started = datetime.now(UTC)
    with writing_backup(root, PREFIX, started) as backup, connect(settings, autocommit=True) as connection:
        settle_session(connection)
        with one_state(connection, read_only=False):
            files = tuple(_write_months(connection, backup, say))
        manifest = Manifest(
            name=backup.name,
            kind=Kind.EVENTS,
            started_at=started.isoformat(timespec="seconds"),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            program=version("analytics_pipeline"),
            timescaledb=server_info(connection).timescaledb_version,
            schema=schema_version(connection),
            currency=settings.base_currency,
            files=files,
        )
        backup.finish(manifest)
    return backup


def import_events(settings: Settings, backup: Backup, rejects: Path, say: Say) -> IngestSummary:
    """Ingest the events of such a folder, once its checksums are as they should be, and return what became of them.

    Conflicts with stored events are rejected and kept, as ingestion does; ``rejects`` is the file of what is rejected.
    """
    manifest = backup.manifest()
    backup.require_undamaged(manifest)
    say(f"ingesting {sum(entry.rows or 0 for entry in manifest.files):,} events of {len(manifest.files)} files")
    with ExitStack() as copies, connect(settings, autocommit=True) as connection:
        sources = [Source.of(copies.enter_context(backup.local_copy(entry.name))) for entry in manifest.files]
        return ingest(
            sources,
            connection,
            rejects_path=rejects,
            rejects_kept=settings.rejects_kept,
            on_conflict=OnConflict.REJECT,
        )


def _write_months(connection: Connection, backup: Backup, say: Say) -> Iterator[BackupFile]:
    first, last = fetch_row(connection, 'SELECT min("timestamp"), max("timestamp") FROM analytics_events')
    if first is None:
        raise AnalyticsError("The database holds no events: there is nothing to export.")
    for month in Window(Granularity.MONTH.floor(first), Granularity.MONTH.next(Granularity.MONTH.floor(last))).split(
        Granularity.MONTH
    ):
        name = f"events-{month.start:%Y-%m}.parquet"
        with backup.write(name) as file:
            rows = _write_month(connection, month, cast("IO[bytes]", file))
        say(f"{name}: {rows:,} events")
        yield file.entry(name, rows)


def _write_month(connection: Connection, month: Window, file: IO[bytes]) -> int:
    """Write the events of a month, read a day at a time, and return how many they are."""
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    schema = _schema()
    rows = 0
    with ExitStack() as stack:
        # Its own wrapper closes what it is given: only it is closed here.
        sink = stack.enter_context(pa.PythonFile(file, mode="w"))
        writer = stack.enter_context(pq.ParquetWriter(sink, schema, compression="zstd"))
        for day in month.split(Granularity.DAY):
            found = connection.execute(load_query("backup_events"), {"start": day.start, "end": day.end}).fetchall()
            if found:
                columns = zip(zip(*found, strict=True), schema.types, strict=True)
                writer.write_table(pa.table([pa.array(*column) for column in columns], schema=schema))
                rows += len(found)
    return rows


def _schema() -> "pa.Schema":
    import pyarrow as pa

    texts = [pa.field(name, pa.string()) for name in _TEXTS]
    return pa.schema([pa.field("event_id", pa.string()), pa.field("timestamp", pa.timestamp("us", "UTC")), *texts])
