"""A cheap probe of a source, and what it says: whether there is something to read."""

from datetime import datetime, timedelta

from analytics_pipeline.erp.cursors import SourceStatus
from analytics_pipeline.erp.reader import ErpDatabase
from analytics_pipeline.erp.source_files import ErpSource
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection

# However quiet it is, a source is read again after so long: a probe sees neither a changed query nor a changed rule.
READ_ANYWAY_AFTER = timedelta(days=1)
# After a run that failed the next one waits, twice as long each time.
_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(minutes=30)
_MAX_DOUBLINGS = 10


def why_due_by_itself(status: SourceStatus | None, now: datetime) -> str | None:
    """Return why a source is to be read whatever the ERP holds; None: it takes a probe to know."""
    if status is None or status.started_at is None:
        return "not read yet"
    if status.is_cut_short:
        return f"there is more to read after {status.position_at or status.cursor_at}"
    if status.window_rows is None:
        return f"read by several runs, or reset, after {status.complete_until}"
    if status.has_due_rejects:
        return "a row dated ahead has become due"
    if now - status.started_at >= READ_ANYWAY_AFTER:
        return f"last read at {status.started_at}"
    return None


def is_pausing(status: SourceStatus | None, now: datetime) -> bool:
    """Return whether the pause after a failed run is not over: a minute, doubled each time, at most half an hour."""
    if status is None or not status.failures or status.started_at is None:
        return False
    pause = min(_FIRST_PAUSE * (1 << min(status.failures - 1, _MAX_DOUBLINGS)), _LONGEST_PAUSE)
    return now - max(status.started_at, status.finished_at or status.started_at) < pause


def what_is_new(
    connection: Connection, erp: ErpDatabase, source: ErpSource, status: SourceStatus, *, seconds: int
) -> str | None:
    """Probe the source; return what is new there since it was read to the end.

    Rows that were committed late count too. None: nothing is new, which is noted, so that the source's lag shows it;
    autocommit connection. Raises as every reading of the ERP does.
    """
    (probe,) = erp.read_source(source, "erp_probe", seconds=seconds, since=status.next_since)
    if (probe["rows"], probe["newest"]) != (status.window_rows, status.window_newest):
        return f"{probe['rows']} rows up to {probe['newest']}"
    values = {"source": source.name, "attempt": status.attempt, "at": probe["at"]}
    connection.execute(load_query("source_quiet"), values)
    return None
