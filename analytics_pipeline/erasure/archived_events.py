"""Events in the archive: rewritten and proved anew, and the files of older versions removed."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from analytics_pipeline.archive.archiving import LOCK, rewrite
from analytics_pipeline.archive.delta_table import Archive, ArchiveError, open_archive
from analytics_pipeline.archive.proved_ranges import read_ranges, require_recorded
from analytics_pipeline.erasure.subject import Subject
from analytics_pipeline.events.exact_json import parse_json, to_json
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.store import STORE_ERRORS, open_store, reason_of
from analytics_pipeline.timescale.connection import Connection, advisory_lock, fetch_row
from analytics_pipeline.timescale.expiry import archive_record
from analytics_pipeline.windows import Window

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

_NAME = "events in the archive"
_COLUMNS = ("company_id", "user_id", "metadata")
# Older versions of a table are kept for readers that are at work; here their files go at once.
_AT_ONCE: Mapping[str, Any] = {"retention_hours": 0, "enforce_retention_duration": False, "full": True}


class ArchivedEvents:
    """The archive of the database, if it has one. Ranges are rewritten one by one, each in a commit."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        """Take an autocommit connection; the archive is where the settings say."""
        self._connection = connection
        self._settings = settings

    def count(self, subject: Subject) -> Mapping[str, int]:
        """Count the rows that would be changed or removed. Raises ``ArchiveError`` if the archive can't be read."""
        archive = self._archive()
        return {} if archive is None else {_NAME: sum(len(_touched(subject, batch)) for batch in _rows(archive, None))}

    def erase(self, subject: Subject) -> None:
        """Rewrite the ranges that name it, and remove every file that the newest version doesn't have."""
        archive = self._archive()
        if archive is None:
            return
        with advisory_lock(self._connection, LOCK, "archive"):
            for known in read_ranges(self._connection):
                if any(_touched(subject, batch) for batch in _rows(archive, known.window)):
                    rewrite(self._connection, archive, known.window, lambda batch: self._without(subject, batch))
            archive.reload()
            if _older_files(archive):
                archive.delta.vacuum(dry_run=False, **_AT_ONCE)

    def search(self, subject: Subject) -> Iterator[str]:
        """Look through the rows of the newest version, and for files of older ones."""
        archive = self._archive()
        if archive is None:
            return
        if left := self.count(subject)[_NAME]:
            yield f"{_NAME}: {left:,}"
        if older := _older_files(archive):
            yield f"{_NAME}: {len(older):,} files of older versions"

    def suspect(self, subject: Subject) -> Iterator[str]:
        """Look through the metadata of the company's events."""
        archive = self._archive()
        if archive is None or subject.is_company:
            return
        rows = (row for batch in _rows(archive, None) for row in batch.to_pylist())
        number = sum(
            row["company_id"] == subject.company_id and subject.suspects(row["metadata"] or "") for row in rows
        )
        if number:
            yield f"{_NAME}: {number:,}"

    def _archive(self) -> Archive | None:
        record = archive_record(self._connection)
        if record is None or record.table_id is None:
            return None
        archive = open_archive(self._settings)
        require_recorded(archive, record)
        return archive

    def _without(self, subject: Subject, batch: "pa.RecordBatch") -> "pa.RecordBatch":
        """Return a batch without the company's rows, or with the person's as they are kept."""
        import pyarrow as pa

        touched = _touched(subject, batch)
        if not touched:
            return batch
        if subject.is_company:
            return batch.take([position for position in range(batch.num_rows) if position not in touched])
        users, metadata = (batch.column(name).to_pylist() for name in ("user_id", "metadata"))
        changed = [touched[position] for position in sorted(touched)]
        # As the database would write it, so that what is brought back is what was proved.
        texts = fetch_row(
            self._connection, load_query("erasure_json_texts"), {"values": [to_json(value) for _, value in changed]}
        )[0]
        for position, (user_id, _), text in zip(sorted(touched), changed, texts, strict=True):
            users[position], metadata[position] = user_id, text
        for name, values in (("user_id", users), ("metadata", metadata)):
            place = batch.schema.get_field_index(name)
            batch = batch.set_column(place, name, pa.array(values, pa.string()))
        return batch


def _rows(archive: Archive, window: Window | None) -> "Iterator[pa.RecordBatch]":
    return archive.batches(window, _COLUMNS)


def _older_files(archive: Archive) -> list[str]:
    """Return the files of rows that the newest version doesn't have: the library also names those that are gone.

    The log, whose checkpoints are Parquet files, is none of them: it holds names of files and instants alone.
    """
    newest = {uri.rpartition("/")[2] for uri in archive.delta.file_uris()}
    try:
        names = open_store(archive.uri).names_below()
    except STORE_ERRORS as error:
        raise ArchiveError(f"Can't list the archive at {archive.location}: {reason_of(error)}.") from error
    return [
        name
        for name in names
        if name.endswith(".parquet") and "_delta_log" not in name.split("/") and name.rpartition("/")[2] not in newest
    ]


def _touched(subject: Subject, batch: "pa.RecordBatch") -> Mapping[int, tuple[str | None, dict[str, Any]]]:
    """Return by position the rows of the company, or those that name the person, with what becomes of them."""
    companies, users, metadata = (batch.column(name).to_pylist() for name in _COLUMNS)
    found: dict[int, tuple[str | None, dict[str, Any]]] = {}
    for position, company_id in enumerate(companies):
        if company_id != subject.company_id:
            continue
        text = metadata[position] or "{}"
        if subject.is_company:
            found[position] = None, {}
        elif users[position] in subject.stored_as or subject.may_be_in(text):
            value = parse_json(text)
            before = users[position], value if isinstance(value, dict) else {}
            now = subject.concealed(*before)
            if now != before:
                found[position] = now
    return found
