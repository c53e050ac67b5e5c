"""Rebuilding an aggregate whose declaration has changed, without a gap in what readers see.

The new one is made and filled beside the old one, and those built on it as well. Readers see the old ones, which are
closed and corrected as ever, until all change names in one transaction. Killed anywhere, a rebuild is repeated.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.aggregates import ContinuousAggregate
from analytics_pipeline.timescale.catalog import require_known_catalog
from analytics_pipeline.timescale.clock import check_clock
from analytics_pipeline.timescale.connection import Connection, advisory_lock
from analytics_pipeline.timescale.declaration import is_as_declared
from analytics_pipeline.timescale.exchange import drop_exchanged, exchange, exchanged, hold_writers, require_movable
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.timescale.refresh import call_refresh, refresh_lock, retention_horizon
from analytics_pipeline.timescale.refreshed_companies import note_refresh
from analytics_pipeline.timescale.replacement import (
    Replacement,
    carry_over,
    create_beside,
    differing_buckets,
    replacements,
    show_carried_rows,
    stored_span,
)
from analytics_pipeline.timescale.waiting import WatchedConnection, change_briefly
from analytics_pipeline.windows import Granularity, Window, join_windows

_LOCK_CLASS = 7_261_944


@dataclass(frozen=True, slots=True)
class RebuiltAggregate:
    """What has become of one aggregate.

    ``computed`` was computed from what it is built on (None: nothing was); of the time before it ``carried_rows`` were
    taken over from the old one. Of the stretches in ``changed`` it says something else than the old one did: what is
    built on it is noted as changed there.
    """

    name: str
    computed: Window | None
    carried_rows: int
    changed: tuple[Window, ...]


def rebuild(
    connection: WatchedConnection, aggregate: ContinuousAggregate, on_month: Callable[[str, Window], None]
) -> list[RebuiltAggregate]:
    """Bring an aggregate, and those built on it, to their declarations; return what was done: nothing if it is there.

    Rows behind the retention horizon are carried over, with null in columns that are new. ``on_month`` is called with
    the aggregate's name for each month that is computed. Autocommit connection. Raises ``RefusedError`` when what
    depends on one of the aggregates can't be moved, or its rows can't be carried over, and ``LockTimeoutError`` when
    somebody reads for longer than the connection waits; the old ones stand as they were then.
    """
    require_known_catalog(connection)
    with advisory_lock(connection, _LOCK_CLASS, "rebuild"):
        _drop_exchanged(connection)
        if is_as_declared(connection, aggregate):
            return []
        targets = replacements(aggregate)
        require_movable(connection, targets)
        create_beside(connection, targets)
        for target in targets:
            _Filling(connection, target).fill(on_month)
        # Again, while nobody closes any of them: what has changed meanwhile.
        with ExitStack() as locks:
            for target in targets:
                locks.enter_context(refresh_lock(connection, target.aggregate))
            fillings = [_Filling(connection, target) for target in targets]
            done = [filling.fill(lambda _name, _month: None) for filling in fillings]
            # Before and after, as for a refresh: the first is for a process that is killed in between.
            _note_changes(connection, targets, done)
            _exchange(connection, fillings, done)
            _note_changes(connection, targets, done)
        _drop_exchanged(connection)
    return done


class _Filling:
    """The filling of one new aggregate: rows behind the retention horizon are taken over, the others computed."""

    def __init__(self, connection: Connection, target: Replacement) -> None:
        """Find out how far the rows are taken over, and what the old one holds after that."""
        self._connection, self.target = connection, target
        granularity = target.aggregate.granularity
        horizon = retention_horizon(connection)
        self._cut = None if horizon is None else granularity.ceil(horizon)
        span = stored_span(connection, target.aggregate)
        self._window: Window | None = None
        if span is not None:
            start = (
                granularity.floor(span.start) if self._cut is None else max(granularity.floor(span.start), self._cut)
            )
            end = granularity.floor(min(span.end, check_clock(connection)))
            self._window = Window(start, end) if start < end else None

    def fill(self, on_month: Callable[[str, Window], None]) -> RebuiltAggregate:
        """Fill it; what is there already costs next to nothing."""
        connection, target = self._connection, self.target
        carried = 0
        if self._cut is not None:
            # Nothing before it is stale from then on, whatever events are left there.
            call_refresh(connection, target.beside.name, None, self._cut)
            carried = self.carry_over()
        for month in self._window.split(Granularity.MONTH) if self._window else ():
            on_month(target.aggregate.name, month)
            call_refresh(connection, target.beside.name, month.start, month.end)
        if carried:
            show_carried_rows(connection, target)
        return RebuiltAggregate(target.aggregate.name, self._window, carried, tuple(self._changed()))

    def carry_over(self) -> int:
        """Take over what the old one holds before the cut, and return how many rows."""
        return 0 if self._cut is None else carry_over(self._connection, self.target, self._cut)

    def _changed(self) -> list[Window]:
        if self._window is None:
            return []
        aggregate = self.target.aggregate
        # What was computed of late events now nobody would find in the log any more.
        stale = stale_ranges(self._connection, self._window, aggregate.name)
        unit = aggregate.granularity
        buckets = [Window(unit.floor(each.first), unit.next(unit.floor(each.last))) for each in stale]
        return join_windows([*buckets, *differing_buckets(self._connection, self.target, self._window)])


def _note_changes(connection: Connection, targets: Sequence[Replacement], done: Sequence[RebuiltAggregate]) -> None:
    for target, rebuilt in zip(targets, done, strict=True):
        for window in rebuilt.changed:
            note_refresh(connection, target.aggregate, window)


def _exchange(connection: WatchedConnection, fillings: Sequence[_Filling], done: Sequence[RebuiltAggregate]) -> None:
    targets = [filling.target for filling in fillings]
    with connection.transaction():
        hold_writers(connection, targets)
        for filling in fillings:
            filling.carry_over()
        for rebuilt in done:
            details = {
                "carriedRows": rebuilt.carried_rows,
                "computed": str(rebuilt.computed) if rebuilt.computed else None,
            }
            audit.record(connection, "aggregate.rebuild", rebuilt.name, details)
        change_briefly(connection, partial(exchange, connection, targets))


def _drop_exchanged(connection: WatchedConnection) -> None:
    if names := exchanged(connection):
        change_briefly(connection, partial(drop_exchanged, connection, names))
