"""The archive as a Delta table: its columns, where it is, and reading and replacing a span of it.

Column by column what ``analytics_events`` has, so that nothing is lost on the way: instants as timestamps with
microseconds in UTC, everything else as the text that PostgreSQL gives of it. Numbers are texts, too: those of events
have any number of digits, which no decimal type of Arrow holds. ``month`` is the partition, ``2025-01`` by UTC.

Statistics are kept of ``timestamp`` alone. Those of other columns would keep ids of people in the table's log, which
outlives the files that an erasure rewrites.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from analytics_pipeline.errors import AnalyticsError, first_line
from analytics_pipeline.folders import make_folder
from analytics_pipeline.settings import Settings
from analytics_pipeline.text import without_credentials
from analytics_pipeline.windows import Window

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]
    from deltalake import DeltaTable

# The table's folder below the place that the setting names.
TABLE: Final = "analytics_events"
MONTH: Final = "month"
TIMESTAMP: Final = "timestamp"
_CONFIGURATION: Final[Mapping[str, str | None]] = {"delta.dataSkippingStatsColumns": TIMESTAMP}
_REMOTE = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://")
# Rows of a batch that is read: metadata may be long.
_BATCH_ROWS = 20_000


class ArchiveError(AnalyticsError):
    """The archive can't be read or written now, or is not what it has to be; nothing was dropped because of it."""


class FileError(ArchiveError):
    """One file of the archive is missing or can't be read: the others can be gone on with."""


class Archive:
    """The table as of one version, which ``reload`` makes the newest; None of it is read before it is asked for.

    Credentials of an object store are those of the environment (AWS_..., AZURE_..., GOOGLE_...).
    """

    def __init__(self, root: str, folder_mode: int = 0o700) -> None:
        """Name the place, a folder or an object-store URI; nothing is opened."""
        self._folder_mode = folder_mode
        self._folder: Path | None = None
        if _REMOTE.match(root):
            self.uri = f"{root.rstrip('/')}/{TABLE}"
        else:
            try:
                self._folder = Path(root.removeprefix("file://")).expanduser().absolute() / TABLE
            except RuntimeError as error:
                raise ArchiveError(f"ANALYTICS_ARCHIVE: {error}: name another folder.") from error
            self.uri = str(self._folder)
        self._opened: DeltaTable | None = None

    @property
    def location(self) -> str:
        """Path or URI of the table, without credentials."""
        return without_credentials(self.uri)

    def exists(self) -> bool:
        """Return whether there is a table; raises ``ArchiveError`` where that can't be seen."""
        from deltalake import DeltaTable

        with self._saying("read"):
            return DeltaTable.is_deltatable(self.uri)

    def create(self, columns: Iterable[str]) -> None:
        """Make the table with the columns of events, unless it is there."""
        from deltalake import DeltaTable

        with self._saying("write to"):
            if self._folder is not None:
                make_folder(self._folder, self._folder_mode, top=self._folder.parent)
            self._opened = DeltaTable.create(
                self.uri,
                schema=schema_of(columns),
                mode="ignore",
                partition_by=[MONTH],
                name=TABLE,
                description="Events of analytics_events, written before retention drops them.",
                configuration=_CONFIGURATION,
            )

    def reload(self) -> None:
        """Go on with the newest version."""
        self._opened = None

    @property
    def table_id(self) -> UUID:
        """The id that the table has had since it was made, wherever it is moved."""
        return UUID(str(self.delta.metadata().id))

    @property
    def version(self) -> int:
        """The version that is read."""
        return self.delta.version()

    @property
    def files(self) -> list[str]:
        """Paths or URIs of the Parquet files that hold the table's rows as of this version, and nothing else."""
        with self._saying("read"):
            return self.delta.file_uris()

    @property
    def columns(self) -> list[str]:
        """The columns of events that the table has, without the partition."""
        return [field.name for field in self.delta.schema().fields if field.name != MONTH]

    @property
    def delta(self) -> "DeltaTable":
        """The table of the library ``deltalake``; raises ``ArchiveError`` where there is none, or it can't be read."""
        if self._opened is None:
            from deltalake import DeltaTable

            with self._saying("read"):
                self._opened = DeltaTable(self.uri)
        return self._opened

    def batches(self, window: Window | None = None, columns: Iterable[str] | None = None) -> "Iterator[pa.RecordBatch]":
        """Yield the rows of a half-open window, or all of them, in no order; without the partition's column.

        Columns that are asked for and missing come as nulls: they are younger than the table. Raises ``FileError`` at
        the first file that can't be read.
        """
        import pyarrow as pa
        import pyarrow.dataset as ds  # type: ignore[import-untyped]

        with self._saying("read"):
            wanted = self.columns if columns is None else list(columns)
            present = [name for name in wanted if name in self.columns]
            condition = None
            if window is not None:
                low, high = (pa.scalar(end, pa.timestamp("us", "UTC")) for end in (window.start, window.end))
                condition = (ds.field(TIMESTAMP) >= low) & (ds.field(TIMESTAMP) < high)
                months = ds.field(MONTH)
                condition &= (months >= _month_text(window.start)) & (months <= _month_text(window.end))
            dataset = self.delta.to_pyarrow_dataset()
            for file in dataset.get_fragments(filter=condition):
                with self._naming(file.path):
                    for batch in file.to_batches(
                        schema=dataset.schema,
                        columns=present,
                        filter=condition,
                        batch_size=_BATCH_ROWS,
                        batch_readahead=2,
                    ):
                        if batch.num_rows:
                            yield _with_columns(batch, wanted)

    def replace(self, window: Window, batches: "Iterable[pa.RecordBatch]", note: Mapping[str, Any]) -> None:
        """Put rows in the place of all that lie in a half-open window, in one commit that carries the note.

        The rows lie in the window. Columns that the table lacks are added; those that the rows lack become null. An
        error of the iterable is raised as it is, and nothing is written then.
        """
        low, high = (f"{end:%Y-%m-%dT%H:%M:%S.%f}Z" for end in (window.start, window.end))
        self._write(batches, note, predicate=f"{TIMESTAMP} >= '{low}' AND {TIMESTAMP} < '{high}'")

    def append(self, batches: "Iterable[pa.RecordBatch]", note: Mapping[str, Any]) -> None:
        """Add rows to those that are there, in one commit, as ``replace`` does."""
        self._write(batches, note, predicate=None)

    def _write(self, batches: "Iterable[pa.RecordBatch]", note: Mapping[str, Any], *, predicate: str | None) -> None:
        import pyarrow as pa
        from deltalake import CommitProperties, WriterProperties, write_deltalake

        remaining = iter(batches)
        first = next(remaining, None)
        if first is not None:
            self._add_columns(name for name in first.schema.names if name not in self.columns)
        schema = schema_of(self.columns)
        failed: list[Exception] = []

        def rows() -> "Iterator[pa.RecordBatch]":
            try:
                if first is not None:
                    yield _stored(first, schema)
                for batch in remaining:
                    yield _stored(batch, schema)
            except Exception as error:
                # The library makes a text of it.
                failed.append(error)
                raise

        with self._saying("write to"):
            try:
                data = pa.RecordBatchReader.from_batches(schema, rows())
                options: Any = {
                    "writer_properties": WriterProperties(compression="ZSTD"),
                    "commit_properties": CommitProperties(custom_metadata=dict(note)),
                }
                if predicate is None:
                    write_deltalake(self.delta, data, mode="append", **options)
                else:
                    write_deltalake(self.delta, data, mode="overwrite", predicate=predicate, **options)
            except Exception:
                if failed:
                    raise failed[0] from None
                raise
            finally:
                self.reload()

    def _add_columns(self, names: Iterable[str]) -> None:
        from deltalake import Field
        from deltalake.schema import PrimitiveType

        if new := [Field(name, PrimitiveType("string"), nullable=True) for name in names]:
            with self._saying("write to"):
                self.delta.alter.add_columns(new)
            self.reload()

    @contextmanager
    def _naming(self, file: str) -> Iterator[None]:
        """Turn what reading one file raises into one line that names it and its month."""
        import pyarrow as pa

        try:
            yield
        except (OSError, pa.ArrowException) as error:
            # Of damaged data some errors are the system's, as those of a store that is out of reach.
            is_surely_damaged = isinstance(error, FileNotFoundError | pa.ArrowException)
            found = "is missing" if isinstance(error, FileNotFoundError) else f"can't be read: {_reason(error)}"
            remedy = "Bring that file back from a copy of the archive"
            otherwise = "" if is_surely_damaged else "; if it is whole there, check the permissions and the store"
            raise FileError(
                f"The file {file} of the archive at {self.location} {found}. {remedy}{otherwise}."
            ) from error

    @contextmanager
    def _saying(self, what: str) -> Iterator[None]:
        """Turn what the library raises into one line."""
        import pyarrow as pa
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            yield
        except TableNotFoundError as error:
            raise ArchiveError(
                f"There is no archive at {self.location}: check ANALYTICS_ARCHIVE, or bring its files back."
            ) from error
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise ArchiveError(
                f"Can't {what} the archive at {self.location}: {_reason(error)}. Check ANALYTICS_ARCHIVE and the "
                "permissions there."
            ) from error


def open_archive(settings: Settings) -> Archive:
    """Return the archive that ``ANALYTICS_ARCHIVE`` names; nothing is opened yet.

    Raises ``ArchiveError`` when the setting is empty.
    """
    if not settings.archive:
        raise ArchiveError("ANALYTICS_ARCHIVE names no place: set it to the folder or object-store URI of the archive.")
    return Archive(settings.archive, settings.folder_mode)


def schema_of(columns: Iterable[str]) -> "pa.Schema":
    """Return the Arrow schema of the table with these columns of events."""
    import pyarrow as pa

    fields = [pa.field(name, arrow_type(name)) for name in columns]
    return pa.schema([*fields, pa.field(MONTH, pa.string())])


def arrow_type(column: str) -> "pa.DataType":
    """Return the type of a column of events in the table."""
    import pyarrow as pa

    return pa.timestamp("us", "UTC") if column in INSTANTS else pa.string()


# The instants of an event; whatever columns come later are texts.
INSTANTS: Final = (TIMESTAMP, "ingested_at")


def _reason(error: Exception) -> str:
    return without_credentials(re.sub(r"\x1b\[[0-9;]*m", "", first_line(error))).rstrip(".")


def _month_text(instant: Any) -> str:
    return f"{instant:%Y-%m}"


def _with_columns(batch: "pa.RecordBatch", wanted: list[str]) -> "pa.RecordBatch":
    """Return a batch with the columns in this order and their types, nulls where it lacks one."""
    import pyarrow as pa

    arrays = [
        batch.column(name).cast(arrow_type(name))
        if name in batch.schema.names
        else pa.nulls(batch.num_rows, arrow_type(name))
        for name in wanted
    ]
    return pa.record_batch(arrays, schema=pa.schema([pa.field(name, arrow_type(name)) for name in wanted]))


def _stored(batch: "pa.RecordBatch", schema: "pa.Schema") -> "pa.RecordBatch":
    """Return a batch as the table stores it: its columns, and the month."""
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    whole = _with_columns(batch, [name for name in schema.names if name != MONTH])
    months = pc.strftime(whole.column(TIMESTAMP), format="%Y-%m")
    return pa.record_batch([*whole.columns, months], schema=schema)
