"""An aggregate computed from the archive alone, for history that no table of the database holds as it is wanted now."""

from typing import Any

from analytics_pipeline.archive.delta_table import open_archive
from analytics_pipeline.archive.proved_ranges import read_ranges, require_recorded
from analytics_pipeline.engines.duckdb_engine import compute_with_duckdb
from analytics_pipeline.errors import RefusedError
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.expiry import archive_record
from analytics_pipeline.windows import Window, common_windows, join_windows, without_windows


def compute_from_archive(
    connection: Connection, settings: Settings, aggregate: ContinuousAggregate, window: Window
) -> list[tuple[Any, ...]]:
    """Return the rows of an aggregate in an aligned window as the archived events give them, in its columns.

    Changes nothing. Raises ``RefusedError`` unless the archive was proved to hold every event of the window, and
    ``AnalyticsError`` as ``compute_with_duckdb`` does.
    """
    record = archive_record(connection)
    if record is None:
        raise RefusedError(
            "This database has no archive yet: set ANALYTICS_ARCHIVE, and run 'analytics-pipeline archive run'."
        )
    archive = open_archive(settings)
    require_recorded(archive, record)
    proved = join_windows(found.window for found in read_ranges(connection, window) if found.proved is not None)
    # Where there is a chunk there may be events; where there is none, and none was archived, there were none.
    chunks = [Window(start, end) for start, end in connection.execute(load_query("event_chunks"))]
    missing = without_windows(common_windows([window], chunks), proved)
    if not proved or missing or (record.complete_from is not None and window.start < record.complete_from):
        held = ", ".join(map(str, common_windows([window], proved))) or "nothing of it"
        raise RefusedError(
            f"{aggregate.name} can't be computed from the archive for {window}: it holds {held}. What it doesn't hold "
            "yet is in the database; what was gone before it was begun is nowhere."
        )
    return compute_with_duckdb(aggregate, archive.files, window)
