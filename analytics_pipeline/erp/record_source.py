"""Recording a source: its rows become events once each, however often and however late they appear.

Rows of a source of companies are no events: what the newest row of a company says is stored as it is.

A pass reads a source from its cursor, less the overlap, to the present of the ERP, in the order of cursor and key,
page by page. The events of a page go in with the position behind it, so a killed run leaves nothing half done, and
the next one goes on there. Then the cursor moves to the newest row, but not past the start of a transaction that
was under way when the pass began: what such a transaction commits later lies before rows that were read already,
and is found by the next pass. Rows read again are recognised by their ids and change nothing.
"""

import shlex
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from uuid import UUID

import psycopg
from psycopg import sql

from analytics_pipeline.companies.company_store import store_companies
from analytics_pipeline.companies.company_values import CompanyParser, CompanyValues
from analytics_pipeline.erp import cursors
from analytics_pipeline.erp.cursors import Pass, SourceState, TakenOverError
from analytics_pipeline.erp.ledger import Ledger, Recorded
from analytics_pipeline.erp.reader import BEGINNING, ErpDatabase, Row, connect_erp, require_erp_url
from analytics_pipeline.erp.rejected_rows import NewReject, due_rows, resolve_rejects, store_rejects
from analytics_pipeline.erp.rows import event_id_of, parse_row, require_key
from analytics_pipeline.erp.source_columns import CURSOR, KEY, require_columns, select_list
from analytics_pipeline.erp.source_files import ErpSource, Reads
from analytics_pipeline.erp.transactions import probe_transactions
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.aliases import load_aliases
from analytics_pipeline.events.announcements import announce_change
from analytics_pipeline.events.contradictions import Refusal, describe_differences
from analytics_pipeline.events.erased import load_erased
from analytics_pipeline.events.model import AnalyticsEvent, Parsing
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.intake.rejects import ERASED_COMPANY
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import check_clock, database_now
from analytics_pipeline.timescale.connection import Connection

PAGE_ROWS = 5_000
# A history is read in slices of time, for the ERP would sort all that follows for every page of it.
_FIRST_SLICE = timedelta(days=1)
_WIDEST_SLICE = timedelta(days=3_650)
_NARROWEST_SLICE = timedelta(seconds=1)
_HISTORY_SECONDS = 600
_FUTURE = "timestamp in the future"
# The kind of reject that a row is which says something else than when it was recorded.
CHANGED = "recorded with other content"


@dataclass(slots=True)
class SourceResult:
    """What a run of a source has done so far, and at its end.

    ``not_kept`` of the rejected rows are counted only. ``first`` and ``last`` are times of new events, all others are
    the ERP's clock. ``held_back_since`` is set when a transaction of the ERP has been under way for longer than the
    overlap: the cursor waits for it.
    """

    source: str
    read: int = 0
    new: int = 0
    already_there: int = 0
    rejected: int = 0
    not_kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None
    cursor_at: datetime | None = None
    read_until: datetime | None = None
    held_back_since: datetime | None = None
    is_complete: bool = False
    taken_over: bool = False
    seconds: float = 0.0


def record_source(
    connection: Connection,
    settings: Settings,
    source: ErpSource,
    *,
    max_rows: int | None = None,
    progress: Callable[[SourceResult], None] = lambda _: None,
) -> SourceResult:
    """Record what the source holds and was not recorded yet; autocommit connection.

    Stops after about ``max_rows`` rows, and goes on there the next time. Rows that are not events are kept as
    rejects and keep nothing else from being recorded. ``progress`` is called after every page. A run that another
    one overtakes ends early, with ``taken_over``. Raises ``DatabaseUnreachableError`` for what may pass by itself,
    ``AnalyticsError`` naming the remedy for everything else that is wrong with the ERP or the source; either is kept
    in the source's state, too.
    """
    require_erp_url(settings)
    state = cursors.begin_run(connection, source)
    try:
        check_clock(connection)
        with connect_erp(settings) as erp:
            run = _Run(connection, erp, source, state, progress, settings.rejects_kept)
            try:
                run.read(max_rows)
            except TakenOverError:
                run.result.taken_over = True
                return run.result
    except (AnalyticsError, psycopg.Error) as error:
        # If it is our own database that is gone, there is nowhere to note it.
        with suppress(psycopg.Error):
            cursors.fail_run(connection, state, str(error))
        raise
    cursors.finish_run(connection, state)
    return run.result


class _Run:
    """One run of one source: the state it moves on, and what it has done."""

    def __init__(
        self,
        connection: Connection,
        erp: ErpDatabase,
        source: ErpSource,
        state: SourceState,
        progress: Callable[[SourceResult], None],
        rejects_kept: int,
    ) -> None:
        self.result = SourceResult(source.name, cursor_at=state.cursor_at, read_until=state.complete_until)
        self._connection = connection
        self._erp = erp
        self._source = source
        self._state = state
        self._progress = progress
        self._rejects_kept = rejects_kept
        self._ledger = Ledger(connection)
        self._parsing = Parsing(aliases=load_aliases(connection))
        # Applied after parsing: a row is also what it was recorded as before its user was erased.
        self._erased = load_erased(connection)
        self._started = time.perf_counter()
        self._saved = state.open_pass

    def read(self, max_rows: int | None) -> None:
        """Read to the end of the pass, or until the most rows are read."""
        self._state.last_read = self._state.last_new = self._state.last_rejected = 0
        columns = self._erp.columns(self._source)
        require_columns(self._source, columns)
        self._store(due_rows(self._connection, self._source.name, PAGE_ROWS), self._saved)
        current = replace(self._saved) if self._saved else self._begin_pass()
        window = None if self._saved else _Window(self._source.overlap)
        for rows in self._pages(current, select_list(self._source, columns)):
            if window is not None:
                window.add(rows, current)
            self._store(rows, current)
            if max_rows is not None and self.result.read >= max_rows and current.position_at < current.until:
                return
        self._complete(current, window)

    def _begin_pass(self) -> Pass:
        state = self._state
        probe = probe_transactions(self._erp, state.last_probe)
        state.window_rows, state.window_newest = None, None
        state.looked_at = probe.at
        state.open_transactions = {name: began.isoformat() for name, began in probe.open_transactions.items()}
        if state.cursor_at is not None:
            start = state.next_since
        else:
            (row,) = self._erp.read_source(self._source, "erp_first", seconds=_HISTORY_SECONDS)
            first = probe.at if row["first"] is None else row["first"]
            # What comes as text is before Python's first year.
            start = min(first, probe.at) if isinstance(first, datetime) else BEGINNING
        return Pass(probe.at, probe.safe_until, None, start, "")

    def _pages(self, current: Pass, selected: sql.Composable) -> Iterator[list[Row]]:
        """Yield the rows of the pass, page by page; the pass stands behind the page that was yielded last."""
        width = _FIRST_SLICE
        while current.position_at < current.until:
            end = min(current.until, current.position_at + width)
            rows = self._erp.read_source(
                self._source,
                "erp_page",
                columns=selected,
                since=current.position_at,
                after_key=current.position_key,
                until=end,
                rows=PAGE_ROWS,
            )
            if len(rows) == PAGE_ROWS:
                current.position_at, current.position_key = rows[-1][CURSOR], rows[-1][KEY]
                width = max(width / 2, _NARROWEST_SLICE)
            else:
                current.position_at, current.position_key = end, ""
                if len(rows) < PAGE_ROWS // 2:
                    width = min(width * 2, _WIDEST_SLICE)
            if rows:
                current.newest = rows[-1][CURSOR]
                yield rows

    def _store(self, rows: Sequence[Row], current: Pass | None) -> None:
        """Write a page: its events, its rejects, and the position behind it.

        Events go in one transaction per UTC day, the last one with all the rest: TimescaleDB notes one span from the
        first to the last changed row of a transaction, and closed partitions in between would be closed again.
        """
        if not rows:
            return
        if self._source.reads is Reads.COMPANIES:
            with self._connection.transaction():
                self._close_page(rows, self._store_companies(rows), current)
            self._note_page(current)
            return
        judged = self._judge(rows)
        days = [list(day) for _, day in groupby(judged.events, key=lambda event: event.timestamp.date())]
        for events in days[:-1]:
            with self._connection.transaction():
                self._record(events, judged)
                cursors.save(self._connection, self._state, self._saved)
        with self._connection.transaction():
            self._record(days[-1] if days else [], judged)
            self._ledger.correct(judged.outdated)
            self._close_page(rows, judged, current)
            if judged.events:
                announce_change(self._connection)
        self._note_page(current)

    def _close_page(self, rows: Sequence[Row], judged: "_Judged", current: Pass | None) -> None:
        """Write the rejects of a page and the position behind it, in the transaction that holds its last rows."""
        self.result.read += len(rows)
        self.result.already_there += judged.already_there
        self.result.rejected += len(judged.rejects) + judged.left_out
        self.result.not_kept += judged.left_out
        self.result.reasons += judged.reasons
        self._state.last_read = self.result.read
        self._state.last_rejected = self.result.rejected
        resolve_rejects(self._connection, self._source.name, judged.accepted_keys)
        self.result.not_kept += store_rejects(
            self._connection,
            self._source.name,
            [reject.concealed(self._erased) for reject in judged.rejects],
            self._rejects_kept,
        )
        cursors.save(self._connection, self._state, current)

    def _note_page(self, current: Pass | None) -> None:
        self._saved = current and replace(current)
        self.result.seconds = time.perf_counter() - self._started
        self._progress(self.result)

    def _record(self, events: Sequence[AnalyticsEvent], judged: "_Judged") -> None:
        if not events:
            return
        loaded = self._ledger.record(events)
        self._state.last_new += loaded.new
        self._state.total_new += loaded.new
        result = self.result
        result.new += loaded.new
        result.already_there += len(events) - loaded.new - len(loaded.refused)
        result.first = min(filter(None, [result.first, events[0].timestamp]))
        result.last = max(filter(None, [result.last, events[-1].timestamp]))
        for refusal in loaded.refused:
            judged.refuse(self._source.name, refusal)

    def _store_companies(self, rows: Sequence[Row]) -> "_Judged":
        """Store what the rows say of companies; of two rows of one company the later one counts."""
        judged, parser = _Judged(), CompanyParser(self._connection)
        said: dict[str, CompanyValues] = {}
        for row in self._of_those_that_are_kept(rows, judged):
            try:
                require_key(row)
                company = parser.parse(row)
            except RejectedEvent as rejection:
                judged.reject(row, rejection)
                continue
            said[company.company_id] = company
            judged.keys.append(row[KEY])
        changed = store_companies(self._connection, list(said.values()), by_hand=False)
        self.result.new += len(changed)
        self._state.last_new += len(changed)
        self._state.total_new += len(changed)
        judged.already_there = len(judged.keys) - len(changed)
        return judged

    def _of_those_that_are_kept(self, rows: Sequence[Row], judged: "_Judged") -> Iterator[Row]:
        """Yield the rows but those of erased companies, whatever is wrong with them: they are counted alone."""
        for row in rows:
            company = self._parsing.aliases.company(row["company_id"])
            if isinstance(company, str) and self._erased.is_erased(company):
                judged.leave_out()
            else:
                yield row

    def _judge(self, rows: Sequence[Row]) -> "_Judged":
        """Tell new events, rows that are events already, and rejects apart."""
        name = self._source.name
        now = database_now(self._connection)
        known = self._ledger.look_up({event_id_of(name, row[KEY]) for row in rows})
        judged = _Judged()
        changed: list[tuple[Row, AnalyticsEvent, Recorded]] = []
        for row in self._of_those_that_are_kept(rows, judged):
            try:
                said = parse_row(name, row, now=now, parsing=self._parsing)
                event = self._erased.conceal(said)
            except RejectedEvent as rejection:
                judged.reject(row, rejection)
                continue
            recorded = known.get(event.event_id)
            content = Recorded.of(event)
            if recorded is None:
                known[event.event_id] = content
                judged.add(event, row)
            elif recorded == content:
                judged.already_there += 1
                judged.keys.append(row[KEY])
            elif event is not said and recorded == Recorded.of(said):
                # It was recorded before its user was erased, and has expired since.
                judged.already_there += 1
                judged.outdated.append(event)
            else:
                changed.append((row, event, recorded))
        differences = self._ledger.describe_changes([(event, recorded) for _, event, recorded in changed])
        for (row, _, _), difference in zip(changed, differences, strict=True):
            if difference is None:
                judged.already_there += 1
                judged.keys.append(row[KEY])
            else:
                judged.reject(row, _changed(name, row[KEY], difference))
        judged.events.sort(key=attrgetter("timestamp"))
        return judged

    def _complete(self, current: Pass, window: "_Window | None") -> None:
        """End the pass: move the cursor, and note what a probe of the source sees as long as nothing happens there."""
        state = self._state
        if current.newest is not None:
            # An application's clock may be behind the database's: without rows the cursor stays where they end.
            state.cursor_at = min(current.safe, current.newest)
        state.complete_until = current.until
        if window is not None:
            state.window_rows = window.count_since(state.next_since)
            state.window_newest = current.newest
        with self._connection.transaction():
            cursors.save(self._connection, state, None)
        self.result.cursor_at = state.cursor_at
        self.result.read_until = current.until
        self.result.is_complete = True
        if current.until - current.safe > self._source.overlap:
            self.result.held_back_since = current.safe
        self.result.seconds = time.perf_counter() - self._started


@dataclass(slots=True)
class _Judged:
    """The rows of a page: events to record, in order of time, and rejects."""

    events: list[AnalyticsEvent] = field(default_factory=list)
    # The row of each of them, by its id.
    rows: dict[UUID, Row] = field(default_factory=dict)
    already_there: int = 0
    keys: list[str] = field(default_factory=list)
    # Of erased users: the ledger knows them by what they were before.
    outdated: list[AnalyticsEvent] = field(default_factory=list)
    # Of erased companies.
    left_out: int = 0
    rejects: list[NewReject] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, event: AnalyticsEvent, row: Row) -> None:
        self.events.append(event)
        self.rows[event.event_id] = row
        self.keys.append(row[KEY])

    def refuse(self, source: str, refusal: Refusal) -> None:
        """Reject the row of an event that was stored in another way before, and said something else then."""
        row = self.rows[refusal.event.event_id]
        if refusal.stored is None:
            self.reject(row, refusal.rejection)
        else:
            difference = describe_differences(refusal.stored, refusal.event, "the row now") or "with other content"
            self.reject(row, _changed(source, row[KEY], difference))

    def leave_out(self) -> None:
        """Count a row of an erased company."""
        self.left_out += 1
        self.reasons[ERASED_COMPANY] += 1

    def reject(self, row: Row, rejection: RejectedEvent) -> None:
        self.reasons[rejection.kind] += 1
        if rejection.kind != _FUTURE:
            self.rejects.append(NewReject(row, rejection.kind, rejection.reason))
            return
        instant = row["timestamp"]
        retry_at = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
        reason = f"{rejection.reason} It is tried again by itself then."
        self.rejects.append(NewReject(row, rejection.kind, reason, retry_at))

    @property
    def accepted_keys(self) -> list[str]:
        rejected = {reject.key for reject in self.rejects}
        return [key for key in self.keys if key not in rejected]


class _Window:
    """When the newest rows of a pass changed, as far back as the next pass will probe."""

    def __init__(self, overlap: timedelta) -> None:
        self._overlap = overlap
        self._instants: deque[datetime] = deque()

    def add(self, rows: Sequence[Row], current: Pass) -> None:
        self._instants.extend(row[CURSOR] for row in rows)
        reach = min(current.safe, self._instants[-1])
        while reach - self._instants[0] > self._overlap:
            self._instants.popleft()

    def count_since(self, since: datetime) -> int:
        return sum(instant >= since for instant in self._instants)


def _changed(source: str, key: str, difference: str) -> RejectedEvent:
    return RejectedEvent(
        CHANGED,
        f"already recorded {difference}: what was recorded stays. If the row is right as it is now, replace the event: "
        f"analytics-pipeline sources accept {source} {shlex.quote(key)}",
    )
