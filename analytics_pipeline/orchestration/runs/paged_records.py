"""Reading Dagster's records whole, in pages: whatever is asked for, no number of records hides one of them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    EventLogRecord,
    RunRecord,
    RunsFilter,
    RunStatusChangeRecordsFilter,
)
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import select

_PAGE_RUNS = 1000
_PAGE_EVENTS = 1000
_PAGE_MATERIALIZATIONS = 20
_ENDS: Final = (
    DagsterEventType.RUN_SUCCESS,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_CANCELED,
)


def run_records(instance: DagsterInstance, wanted: RunsFilter) -> Iterator[RunRecord]:
    """Yield every run that is wanted, the newest first."""
    cursor: str | None = None
    while True:
        page = instance.get_run_records(wanted, limit=_PAGE_RUNS, cursor=cursor)
        yield from page
        if len(page) < _PAGE_RUNS:
            return
        cursor = page[-1].dagster_run.run_id


def run_events(instance: DagsterInstance, run_id: str, of_type: set[DagsterEventType]) -> Iterator[DagsterEvent]:
    """Yield every event of a run that is of one of the types, the oldest first."""
    cursor: str | None = None
    while True:
        page = instance.get_records_for_run(run_id, cursor=cursor, of_type=of_type, limit=_PAGE_EVENTS)
        for record in page.records:
            if record.event_log_entry.dagster_event is not None:
                yield record.event_log_entry.dagster_event
        if not page.has_more:
            return
        cursor = page.cursor


def failure_events(instance: DagsterInstance) -> dict[str, int]:
    """Return by run id where the event log says that a run failed or was cancelled."""
    found: dict[str, int] = {}
    for event_type in (DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED):
        cursor: str | None = None
        while True:
            page = instance.fetch_run_status_changes(event_type, limit=_PAGE_EVENTS, cursor=cursor)
            for record in page.records:
                found[record.run_id] = max(record.storage_id, found.get(record.run_id, 0))
            if not page.has_more:
                break
            cursor = page.cursor
    return found


def ended_runs(instance: DagsterInstance, after: int | None) -> tuple[set[str], int]:
    """Return the runs that have ended behind a position of the event log, and the newest position there is.

    Without a position no runs, only where the log ends now.
    """
    found: set[str] = set()
    newest = after or 0
    for event_type in _ENDS:
        if after is None:
            last = instance.fetch_run_status_changes(event_type, limit=1).records
            newest = max([newest, *(record.storage_id for record in last)])
            continue
        cursor: str | None = None
        while True:
            wanted = RunStatusChangeRecordsFilter(event_type, after_storage_id=after)
            page = instance.fetch_run_status_changes(wanted, limit=_PAGE_EVENTS, cursor=cursor)
            found |= {record.run_id for record in page.records}
            newest = max([newest, *(record.storage_id for record in page.records)])
            if not page.has_more:
                break
            cursor = page.cursor
    return found, newest


def materializations(instance: DagsterInstance, wanted: AssetRecordsFilter) -> Iterator[EventLogRecord]:
    """Yield every materialisation that is wanted, the newest first; pages are small: mostly the first ones suffice."""
    cursor: str | None = None
    while True:
        page = instance.fetch_materializations(wanted, limit=_PAGE_MATERIALIZATIONS, cursor=cursor)
        yield from page.records
        if not page.has_more:
            return
        cursor = page.cursor


def materialization_times(instance: DagsterInstance, asset: AssetKey) -> dict[int, tuple[datetime, str]]:
    """Return when each materialisation of an asset was recorded, and by which run, by its position in the event log.

    Read as columns: the events of a long history take minutes to be deserialised.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        records = materializations(instance, AssetRecordsFilter(asset))
        return {r.storage_id: (datetime.fromtimestamp(r.timestamp, UTC), r.run_id) for r in records}
    log = SqlEventLogStorageTable.c
    query = select(log.id, log.timestamp, log.run_id).where(
        log.asset_key == asset.to_string(),
        log.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION.value,
    )
    with storage.index_connection() as connection:
        return {id_: (at.replace(tzinfo=UTC), run_id) for id_, at, run_id in connection.execute(query)}
