"""Whose closed days and months a refresh makes stale: of which companies it has changed rows, and when the events are.

TimescaleDB's log, by which a refresh goes and which it empties, names no company. So the rows that are stored are
compared before and after.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import AGGREGATES, LOGS_DAYS, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.invalidation import StaleRange
from analytics_pipeline.windows import Granularity, Window

Ranges = Multirange[datetime]
_Rows = dict[tuple[str | None, datetime], int]

# More companies and buckets than that are not compared: what has changed is everybody's.
_MAX_COMPARED = 100_000
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class RefreshedRows:
    """A refresh of a window of an aggregate that is under way, and what its table held before.

    ``changed`` is what of the window had changed since it was stored, ``unstored`` what was never stored. ``before`` is
    None where nothing had changed, or too much to be compared.
    """

    connection: Connection
    aggregate: ContinuousAggregate
    table: sql.Identifier
    window: Window
    changed: Ranges
    unstored: Ranges
    before: _Rows | None

    @property
    def is_stale(self) -> bool:
        """Whether there was anything to refresh."""
        return bool(self.changed or self.unstored)

    def settle(self) -> None:
        """Note, once the window is refreshed, what has to be computed again because of it, and of which companies."""
        _note_changed_days(self.connection, self.aggregate, self.window)
        unstored, differing = self.unstored, self._differing()
        if not self.changed:
            # Where nothing was stale, whoever has recorded events meanwhile is known by the other aggregates of events.
            differing = []
            unstored = _whole(self.window) if unstored else unstored
        self.connection.execute(
            "SELECT analytics_settle_refresh("
            "%s, %s, %s, %s, %s, %s::tstzmultirange, %s::tstzmultirange, %s::text[], %s::timestamptz[])",
            [
                *_refresh_of(self.aggregate, self.window),
                self._reads_all_events,
                self.changed,
                unstored,
                None if differing is None else [company for company, _ in differing],
                None if differing is None else [bucket for _, bucket in differing],
            ],
        )

    @property
    def _reads_all_events(self) -> bool:
        """Whether its log speaks of every change of an event, and nobody else has to say of whom that is.

        Of hours there is one that counts all events: another one may be refreshed before it.
        """
        is_of_hours = self.aggregate.granularity is Granularity.HOUR
        return self.aggregate.source == EVENTS and (self.aggregate.condition == "true" or not is_of_hours)

    def _differing(self) -> list[tuple[str | None, datetime]] | None:
        if self.before is None:
            return None
        after = _stored_rows(self.connection, self.aggregate, self.table, self.window, self.changed, self.unstored)
        if after is None:
            return None
        return [key for key in {**self.before, **after} if self.before.get(key) != after.get(key)]


def begin_refresh(
    connection: Connection,
    aggregate: ContinuousAggregate,
    table: sql.Identifier,
    window: Window,
    stale: Sequence[StaleRange],
) -> RefreshedRows:
    """Note what a refresh of a window may change, before it, and return what it is compared with.

    ``table`` holds the aggregate's rows, ``stale`` is what of the window has to be refreshed, read before this call.
    The caller holds the aggregate's ``refresh_lock`` to the end.
    """
    parameters = {
        "granularity": str(aggregate.granularity),
        "source": next((str(source.granularity) for source in AGGREGATES if source.name == aggregate.source), None),
        "stale": Multirange([Range(each.first, each.last + _MICROSECOND) for each in stale]),
        "start": window.start,
        "end": window.end,
        "aggregate": aggregate.name,
    }
    changed, unstored, has_notes, has_common_notes = fetch_row(connection, load_query("refreshed_ranges"), parameters)
    if has_notes:
        connection.execute("SELECT analytics_keep_notes(%s)", [aggregate.name])
    if has_common_notes:
        connection.execute("SELECT analytics_spread_notes()")
    if changed or unstored:
        note_refresh(connection, aggregate, window, changed, is_replaced=True)
    before = _stored_rows(connection, aggregate, table, window, changed, unstored) if changed else None
    return RefreshedRows(connection, aggregate, table, window, changed, unstored, before)


def note_refresh(
    connection: Connection,
    aggregate: ContinuousAggregate,
    window: Window,
    changed: Ranges | None = None,
    *,
    is_replaced: bool = False,
) -> None:
    """Note, without a company, what has to be computed again because of a refresh of a window.

    Those are the figures built on the aggregate and, since the refresh clears the log they go by, the days of users
    and subscriptions. Local days are known by what has ``changed`` of the window since it was stored; None: all of it.
    ``is_replaced``: until the refresh knows of which companies, else to stay.
    """
    _note_changed_days(connection, aggregate, window)
    ranges = _whole(window) if changed is None else changed
    connection.execute(
        "SELECT analytics_note_refresh(%s, %s, %s, %s, %s::tstzmultirange, %s)",
        [*_refresh_of(aggregate, window), ranges, is_replaced],
    )


def _note_changed_days(connection: Connection, aggregate: ContinuousAggregate, window: Window) -> None:
    if aggregate.name == LOGS_DAYS:
        connection.execute("SELECT analytics_note_changed_events(%s, %s)", [window.start, window.end])


def _refresh_of(aggregate: ContinuousAggregate, window: Window) -> tuple[datetime, datetime, str, str]:
    return window.start, window.end, str(aggregate.granularity), aggregate.name


def _whole(window: Window) -> Ranges:
    return Multirange([Range(window.start, window.end)])


def _stored_rows(
    connection: Connection,
    aggregate: ContinuousAggregate,
    table: sql.Identifier,
    window: Window,
    changed: Ranges,
    unstored: Ranges,
) -> _Rows | None:
    """Return what is stored of each bucket, as a number: by company where it has changed; None: too much."""
    query = sql.SQL(load_query("refreshed_rows")).format(relation=table)
    parameters = {
        "granularity": str(aggregate.granularity),
        "changed": changed,
        "unstored": unstored,
        "start": window.start,
        "end": window.end,
        "most": _MAX_COMPARED + 1,
    }
    rows = connection.execute(query, parameters).fetchall()
    return None if len(rows) > _MAX_COMPARED else {(company, bucket): number for company, bucket, number in rows}
