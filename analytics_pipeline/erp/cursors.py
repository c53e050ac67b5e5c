"""How far each source has been read: one row of ``analytics_source_cursors``, written with the events."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from analytics_pipeline.erp.reader import BEGINNING
from analytics_pipeline.erp.source_files import ErpSource
from analytics_pipeline.erp.transactions import TransactionProbe
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection

_ERROR_CHARACTERS = 1_000


class TakenOverError(AnalyticsError):
    """A newer run of the same source has begun, or it was reset: this run stops, and loses nothing."""


@dataclass(slots=True)
class Pass:
    """A reading of a source from its cursor to ``until``, and how far it has come.

    Rows before ``safe`` can't appear any more while it reads. ``newest`` is of the rows it has read.
    """

    until: datetime
    safe: datetime
    newest: datetime | None
    position_at: datetime
    position_key: str


@dataclass(slots=True)
class SourceState:
    """A row of ``analytics_source_cursors``; migration 0014 says what its columns mean."""

    source: str
    cursor_at: datetime | None
    overlap: timedelta
    pass_until: datetime | None
    pass_safe: datetime | None
    pass_newest: datetime | None
    position_at: datetime | None
    position_key: str | None
    looked_at: datetime | None
    open_transactions: Mapping[str, str]
    complete_until: datetime | None
    window_rows: int | None
    window_newest: datetime | None
    attempt: int
    started_at: datetime | None
    finished_at: datetime | None
    failures: int
    last_error: str | None
    last_read: int
    last_new: int
    last_rejected: int
    total_new: int

    @property
    def last_probe(self) -> TransactionProbe | None:
        """The last probe of the ERP's running transactions."""
        if self.looked_at is None:
            return None
        return TransactionProbe(
            self.looked_at, {n: datetime.fromisoformat(t) for n, t in self.open_transactions.items()}
        )

    @property
    def is_cut_short(self) -> bool:
        """Whether a pass was begun that has not come to its end."""
        return self.pass_until is not None

    @property
    def next_since(self) -> datetime:
        """Where the next pass begins to read."""
        if self.cursor_at is None:
            return BEGINNING
        return max(self.cursor_at, BEGINNING + self.overlap) - self.overlap

    @property
    def open_pass(self) -> Pass | None:
        """The pass that an earlier run did not bring to its end."""
        if self.pass_until is None or self.pass_safe is None or self.position_at is None:
            return None
        return Pass(self.pass_until, self.pass_safe, self.pass_newest, self.position_at, self.position_key or "")


@dataclass(slots=True)
class SourceStatus(SourceState):
    """The row, and how many of the source's rows are rejected."""

    open_rejects: int
    has_due_rejects: bool


def read_statuses(connection: Connection) -> dict[str, SourceStatus]:
    """Return how far each source that was ever read or reset has been read, by name."""
    with connection.cursor(row_factory=class_row(SourceStatus)) as cursor:
        return {row.source: row for row in cursor.execute(load_query("source_states"))}


def begin_run(connection: Connection, source: ErpSource) -> SourceState:
    """Begin a run of the source, which from here on is the only one that may write. Autocommit connection."""
    with connection.cursor(row_factory=class_row(SourceState)) as cursor:
        cursor.execute(load_query("source_begin"), {"source": source.name, "overlap": source.overlap})
        (state,) = cursor.fetchall()
    return state


def save(connection: Connection, state: SourceState, open_pass: Pass | None) -> None:
    """Write how far the run has come, as part of the caller's transaction.

    Raises ``TakenOverError`` when this is no longer the newest run of the source; the caller rolls back.
    """
    values = asdict(state) | {
        "open_transactions": json.dumps(dict(state.open_transactions)),
        "pass_until": open_pass and open_pass.until,
        "pass_safe": open_pass and open_pass.safe,
        "pass_newest": open_pass and open_pass.newest,
        "position_at": open_pass and open_pass.position_at,
        "position_key": open_pass and open_pass.position_key,
    }
    if not connection.execute(load_query("source_save"), values).rowcount:
        raise TakenOverError(
            f"Another run has begun to read {state.source}, or it was reset: this one stops, what it read is in."
        )


def finish_run(connection: Connection, state: SourceState) -> None:
    """Note that the run came to its end."""
    connection.execute(load_query("source_finish"), {"source": state.source, "attempt": state.attempt})


def fail_run(connection: Connection, state: SourceState, error: str) -> None:
    """Note why the run did not come to its end."""
    values = {"source": state.source, "attempt": state.attempt, "error": error[:_ERROR_CHARACTERS]}
    connection.execute(load_query("source_fail"), values)


def reset(connection: Connection, source: ErpSource, since: datetime) -> None:
    """Make the next run read again from an instant (of the rows' cursor_at), or begin there if nothing was read.

    A run that is under way stops. Raises ``AnalyticsError`` for an instant after the cursor: rows between would be
    left out.
    """
    values = {"source": source.name, "overlap": source.overlap, "since": since}
    if not connection.execute(load_query("source_reset"), values).rowcount:
        raise AnalyticsError(
            f"{source.name} has not been read up to {since:%Y-%m-%d} yet: rows before it would be left out. Choose an "
            "earlier date; `analytics-pipeline sources list` shows the cursor."
        )
