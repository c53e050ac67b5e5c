"""What is closed: the table ``analytics_partitions``, a row for each partition of each asset that was ever begun.

An attempt over a window makes its partitions open, and they are closed when their proof is recorded: an attempt that
was begun and has ended without a proof, whatever ended it, leaves them open. What is refused begins no attempt.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg import sql

from analytics_pipeline.events.announcements import announce_change
from analytics_pipeline.metrics.tables import METRIC_ASSETS
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import materialized_tables
from analytics_pipeline.windows import Granularity, Window

PARTITIONS = "analytics_partitions"
_MAX_FAILURE = 500
# The aggregate of hours that counts every event, whatever its category.
ALL_EVENTS = "analytics_event_volume_hourly"
_AGGREGATES = {aggregate.name for aggregate in AGGREGATES}


@dataclass(frozen=True, slots=True)
class FailedRange:
    """Partitions beside each other whose last attempt has not closed them: it has failed, or is under way.

    ``attempts`` counts those since the last success, the last one included. ``failure`` says why it failed, as far as
    it could say so itself; ``run_id`` is its run in Dagster.
    """

    asset: str
    window: Window
    attempts: int
    run_id: str
    attempted_at: datetime
    failure: str | None


@dataclass(frozen=True, slots=True)
class ClosingTimes:
    """When the last attempt at a closed partition began, and when it was proved."""

    attempted_at: datetime
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class ClosedPartition:
    """A closed partition and its proof: when, the rows stored, the events behind them (None: not counted)."""

    window: Window
    closed_at: datetime
    rows: int | None
    events: int | None


@dataclass(frozen=True, slots=True)
class LateEvents:
    """Events that came in too late: how many, and the times (UTC) of the first and the last of them."""

    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class AdoptedPartition:
    """A partition that was closed before ``analytics_partitions``: when, and by which run."""

    window: Window
    closed_at: datetime
    run_id: str


def begin_attempt(connection: Connection, asset: str, granularity: Granularity, window: Window, run_id: str) -> None:
    """Note that a run begins to close the partitions of a half-open window, aligned to the granularity.

    They are not closed from now on. A step that is repeated in its run is the same attempt. Autocommit connection.
    """
    width = f"1 {granularity}"
    parameters = {"asset": asset, "start": window.start, "end": window.end, "width": width, "run_id": run_id}
    connection.execute(load_query("partitions_begin"), parameters)


def record_closed(connection: Connection, asset: str, window: Window, run_id: str, *earlier: str) -> int:
    """Note that the partitions of a half-open window are proved, and return how many are closed by that.

    Those count whose last attempt was this run's, or one of the ``earlier`` runs that it repeats: another run that has
    begun since has them in hand. The proof is counted here, from what is stored: the rows, and the events behind them.
    """
    counted, rows, events = _counts(connection, asset)
    query = sql.SQL(load_query("partitions_close")).format(counted=counted, rows=rows, events=events)
    with connection.transaction():
        # A table that has just been filled has no statistics: each partition would look through all of the counts.
        connection.execute("SET LOCAL enable_nestloop = off")
        closed = connection.execute(query, _attempt(asset, window, run_id, *earlier)).rowcount
        if closed:
            announce_change(connection)
    return closed


def record_failure(
    connection: Connection, asset: str, window: Window, failure: str, run_id: str, *earlier: str
) -> None:
    """Note why the attempt of a run, or of an earlier one that it repeats, at a half-open window has failed."""
    text = " ".join(failure.split())
    short = text if len(text) <= _MAX_FAILURE else f"{text[: _MAX_FAILURE - 3]}..."
    parameters = {**_attempt(asset, window, run_id, *earlier), "failure": short}
    connection.execute(load_query("partitions_fail"), parameters)


@dataclass(frozen=True, slots=True)
class DeadRun:
    """A run whose process was ended: why it did, and whether its attempt says nothing against another one."""

    run_id: str
    why: str
    is_taken_back: bool


def record_deaths(connection: Connection, runs: Sequence[DeadRun]) -> None:
    """Note what processes that were ended have left of their attempts, if they have left any."""
    for run in runs:
        connection.execute(load_query("partitions_died"), asdict(run))


def closed_ranges(connection: Connection) -> dict[str, list[Window]]:
    """Return by asset the half-open stretches that are closed, in order, of the whole history."""
    found: defaultdict[str, list[Window]] = defaultdict(list)
    for asset, start, end in connection.execute(load_query("partitions_closed")):
        found[asset].append(Window(start, end))
    return dict(found)


def closed_partitions(connection: Connection, asset: str, start: datetime) -> list[ClosedPartition]:
    """Return the closed partitions of an asset that begin at ``start`` or later, in order."""
    query = load_query("partitions_proofs")
    rows = connection.execute(query, {"asset": asset, "start": start})
    return [ClosedPartition(Window(begin, end), *proof) for begin, end, *proof in rows]


def failed_ranges(connection: Connection) -> dict[str, list[FailedRange]]:
    """Return by asset the stretches whose last attempt has not closed them, in order, of the whole history.

    Whether an attempt is still under way is known from Dagster's runs alone.
    """
    found: defaultdict[str, list[FailedRange]] = defaultdict(list)
    for asset, start, end, *attempt in connection.execute(load_query("partitions_failed")):
        found[asset].append(FailedRange(asset, Window(start, end), *attempt))
    return dict(found)


def closing_stretches(connection: Connection, window: Window) -> list[tuple[str, str, datetime, datetime]]:
    """Return asset, state (closed, stale or open) and ends of each stretch of partitions that touches a window."""
    query = "SELECT asset, state, stretch_start, stretch_end FROM analytics_closing_stretches(%s, %s)"
    return connection.execute(query, [window.start, window.end]).fetchall()


def closing_times(connection: Connection, assets: Collection[str]) -> dict[str, dict[Window, ClosingTimes]]:
    """Return by asset when each of its closed partitions was begun and proved; for assets of few partitions."""
    found: dict[str, dict[Window, ClosingTimes]] = {asset: {} for asset in assets}
    query = load_query("partitions_times")
    for asset, start, end, attempted_at, closed_at in connection.execute(query, {"assets": list(assets)}):
        found[asset][Window(start, end)] = ClosingTimes(attempted_at, closed_at)
    return found


@dataclass(frozen=True, slots=True)
class ClosingRun:
    """How long a run took, from its first attempt to its last proof, and how many partitions it has closed."""

    partitions: int
    seconds: float


def closing_runs(connection: Connection, assets: Sequence[str]) -> list[ClosingRun]:
    """Return the newest runs that have closed partitions of all of the assets, the newest first; at most 50.

    Partitions that were closed again since are those of the later run.
    """
    rows = connection.execute(load_query("partitions_closing_runs"), {"assets": list(assets)})
    return [ClosingRun(*row) for row in rows]


def last_attempt(connection: Connection, assets: Sequence[str], window: Window) -> datetime | None:
    """Return when the last attempt at a partition of the assets within the window began, None without any."""
    parameters = {"assets": list(assets), "start": window.start, "end": window.end}
    return fetch_row(connection, load_query("partitions_last_attempt"), parameters)[0]  # type: ignore[no-any-return]


def late_behind_horizon(connection: Connection, stretches: Sequence[Window], horizon: datetime) -> LateEvents | None:
    """Return the events before the retention horizon, within stretches, that came in after their hour was closed.

    None without any. The figures of those hours stay as they are.
    """
    parameters = {
        "asset": ALL_EVENTS,
        "lows": [stretch.start for stretch in stretches],
        "highs": [stretch.end for stretch in stretches],
        "horizon": horizon,
    }
    count, first, last = fetch_row(connection, load_query("late_behind_horizon"), parameters)
    return LateEvents(count, first, last) if count else None


def mark_final(connection: Connection, horizon: datetime | None) -> int:
    """Mark as final what is closed and begins before the retention horizon, and nothing else; return the changes."""
    return connection.execute(load_query("partitions_final"), {"horizon": horizon}).rowcount


def adopted_assets(connection: Connection) -> set[str]:
    """Return the assets of which an earlier record of closed partitions was taken over."""
    return {asset for (asset,) in connection.execute("SELECT asset FROM analytics_partition_adoptions")}


def adopt_partitions(
    connection: Connection,
    asset: str,
    granularity: Granularity,
    partitions: Iterable[AdoptedPartition],
    failed: Iterable[FailedRange],
) -> int:
    """Take over which partitions of an asset an earlier record says are closed, and which failed runs have left.

    Returns how many were closed and not known. What was begun meanwhile stays as it is. That it was done is noted in
    the same transaction.
    """
    listed = list(partitions)
    parameters = {
        "asset": asset,
        "starts": [p.window.start for p in listed],
        "ends": [p.window.end for p in listed],
        "times": [p.closed_at for p in listed],
        "runs": [p.run_id for p in listed],
    }
    with connection.transaction():
        adopted = connection.execute(load_query("partitions_adopt"), parameters).rowcount
        for left in failed:
            attempt = {
                **_attempt(asset, left.window, left.run_id),
                "width": f"1 {granularity}",
                "attempts": [left.run_id][: left.attempts],
                "failure": left.failure,
                "attempted_at": left.attempted_at,
            }
            connection.execute(load_query("partitions_adopt_failed"), attempt)
        connection.execute(
            "INSERT INTO analytics_partition_adoptions (asset, partitions) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [asset, adopted],
        )
    return adopted


def _attempt(asset: str, window: Window, run_id: str, *earlier: str) -> dict[str, object]:
    runs = [run_id, *earlier]
    return {"asset": asset, "start": window.start, "end": window.end, "run_id": run_id, "runs": runs}


def _counts(connection: Connection, asset: str) -> tuple[sql.Composable, sql.SQL, sql.SQL]:
    """Return the query that counts an asset's stored rows by partition, and what stands for rows and for events."""
    within = sql.SQL("{column} >= %(start)s AND {column} < %(end)s GROUP BY {column}")
    if asset in _AGGREGATES:
        query = sql.SQL("SELECT bucket, count(*), sum(event_count)::bigint FROM {} WHERE {}").format(
            materialized_tables(connection)[asset].identifier, within.format(column=sql.Identifier("bucket"))
        )
        return query, sql.SQL("coalesce(counted.rows, 0)"), sql.SQL("coalesce(counted.events, 0)")
    if asset in METRIC_ASSETS:
        table, granularity = METRIC_ASSETS[asset]
        query = sql.SQL(load_query("partitions_metric_rows")).format(
            table=sql.Identifier(table.table), granularity=sql.Literal(str(granularity))
        )
        return query, sql.SQL("coalesce(counted.rows, 0)"), sql.SQL("NULL::bigint")
    nothing = sql.SQL("SELECT NULL::timestamptz, NULL::bigint, NULL::bigint WHERE false")
    return nothing, sql.SQL("NULL::bigint"), sql.SQL("NULL::bigint")


def changed_windows(connection: Connection) -> dict[str, list[Window]]:
    """Return by table the closed days whose events have changed since, as far as a refresh has noted them.

    Of the tables that are made of the events of each day and kept: ``analytics_users`` and ``analytics_subscriptions``.
    What no refresh has come by since is in TimescaleDB's invalidation logs (``timescale.invalidation``).
    """
    rows = connection.execute(
        "SELECT c.relation, lower(r), upper(r) FROM analytics_closed_windows AS c, unnest(c.changed) AS r ORDER BY 2"
    ).fetchall()
    found: dict[str, list[Window]] = {}
    for relation, start, end in rows:
        found.setdefault(relation, []).append(Window(start, end))
    return found
