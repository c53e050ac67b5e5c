"""Pruning Dagster's storage: events, results of checks and runs that nothing goes by any more."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql

from analytics_pipeline.operations.backup import connect_to_server
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row

# Each is a transaction: what an interruption leaves is pruned by the next time.
_BATCH = 5_000
# Which rows are listed in which temporary table, in the order in which they go: a run stays until nothing is of it.
_LISTS = {
    "event_logs": "prunable_events",
    "asset_check_executions": "prunable_checks",
    "runs": "whole_runs",
}


@dataclass(frozen=True, slots=True)
class Prunable:
    """How many rows of Dagster's storage may go, of those there are, and how many bytes its tables take."""

    events: int
    checks: int
    runs: int
    all_events: int
    all_checks: int
    all_runs: int
    bytes: int


class Pruning:
    """What may go from Dagster's storage, found once, so that what is shown is what goes."""

    def __init__(self, storage: Connection) -> None:
        """Take a connection on which the lists have been made."""
        self._storage = storage

    def prunable(self) -> Prunable:
        """Return what may go, and what there is."""
        events, checks, runs = (self._count(listed) for listed in _LISTS.values())
        all_events, all_checks, all_runs = (self._count(table) for table in _LISTS)
        return Prunable(events, checks, runs, all_events, all_checks, all_runs, self.measure())

    def measure(self) -> int:
        """Return the bytes of Dagster's tables, with their indexes."""
        return sum(size for _, _, size in self._storage.execute(load_query("dagster_storage_tables")))

    def delete(self, on_batch: Callable[[str, int], None] = lambda *_: None) -> None:
        """Delete what was listed, in batches; ``on_batch`` is given the table and how many rows are deleted of it."""
        for table, listed in _LISTS.items():
            rows = self._storage.execute(sql.SQL("SELECT id FROM {}").format(sql.Identifier(listed))).fetchall()
            ids = [id_ for (id_,) in rows]
            for start in range(0, len(ids), _BATCH):
                batch = ids[start : start + _BATCH]
                with self._storage.transaction():
                    if table == "event_logs":
                        self._storage.execute("DELETE FROM asset_event_tags WHERE event_id = ANY (%s)", [batch])
                    self._storage.execute(
                        sql.SQL("DELETE FROM {} WHERE id = ANY (%s)").format(sql.Identifier(table)), [batch]
                    )
                on_batch(table, start + len(batch))

    def vacuum(self, *, full: bool) -> None:
        """Let the room be used again; ``full`` gives it back to the disk, and locks each table meanwhile."""
        options = sql.SQL("FULL, ANALYZE") if full else sql.SQL("ANALYZE")
        for table in (*_LISTS, "run_tags", "asset_event_tags"):
            self._storage.execute(sql.SQL("VACUUM ({}) {}").format(options, sql.Identifier(table)))

    def _count(self, table: str) -> int:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
        return int(fetch_row(self._storage, query)[0])


@contextmanager
def open_pruning(url: str, run_ids: list[str]) -> Iterator[Pruning]:
    """List what may go of these runs from the storage at ``url``; nothing is deleted yet.

    Kept are the newest materialisation and observation of every partition of every asset, with their runs, and the
    newest result of every check. Raises ``AnalyticsError`` when the storage can't be reached.
    """
    with connect_to_server(url, "DAGSTER_POSTGRES_URL") as storage:
        storage.execute("CREATE TEMPORARY TABLE prunable_runs (run_id text)")
        storage.execute("INSERT INTO prunable_runs SELECT unnest(%s::text[])", [run_ids])
        storage.execute(load_query("dagster_prune_checks"))
        storage.execute(load_query("dagster_prune_events"))
        storage.execute("ANALYZE prunable_runs, prunable_checks, prunable_events")
        storage.execute(load_query("dagster_prune_whole_runs"))
        yield Pruning(storage)
