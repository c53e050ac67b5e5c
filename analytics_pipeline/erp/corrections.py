"""Replacing an event by what its row says now, once a person has decided that the row is right."""

from collections.abc import Sequence

from analytics_pipeline.erp.ledger import Ledger
from analytics_pipeline.erp.rejected_rows import SourceReject, resolve_rejects
from analytics_pipeline.erp.rows import parse_row
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.aliases import load_aliases
from analytics_pipeline.events.contradictions import OnConflict
from analytics_pipeline.events.erased import load_erased
from analytics_pipeline.events.model import AnalyticsEvent, Parsing
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.timescale.clock import check_clock
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import expired_events


def accept_rows(connection: Connection, rejects: Sequence[SourceReject]) -> int:
    """Record rejected rows as they are, in place of what was recorded for their keys; return how many.

    Closed partitions that lose or gain an event become stale, and are closed again by ``late_events``. Autocommit
    connection; every row is complete or untouched, apart from one that is killed half-way: it is still rejected then,
    and accepting it again completes it. Raises ``AnalyticsError`` for a row that is no event at all, or of a time
    whose raw events have expired; rows before it are accepted by then.
    """
    ledger = Ledger(connection, OnConflict.REPLACE)
    now, expired = check_clock(connection), expired_events(connection)
    parsing = Parsing(aliases=load_aliases(connection), erased=load_erased(connection))
    for reject in rejects:
        try:
            event = parse_row(reject.source, reject.row, now=now, parsing=parsing)
        except RejectedEvent as error:
            raise AnalyticsError(
                f"{reject.source_key} can't be accepted, for it is no event: {error.reason} Fix the row in the ERP, "
                "or the query."
            ) from error
        recorded = ledger.look_up([event.event_id]).get(event.event_id)
        times = [event.timestamp] + ([recorded.timestamp] if recorded else [])
        gone = next((stretch for stretch in expired for instant in times if stretch.holds(instant)), None)
        if gone is not None:
            raise AnalyticsError(
                f"{reject.source_key} can't be accepted: raw events before {gone.end:%Y-%m-%d} have expired, and the "
                "aggregates there can't be computed again. Book the difference in the ERP as a new row."
            )
        _replace(connection, ledger, reject, event)
    return len(rejects)


def _replace(connection: Connection, ledger: Ledger, reject: SourceReject, event: AnalyticsEvent) -> None:
    # Two transactions: TimescaleDB takes everything between the old time and the new one for changed in a single one.
    with connection.transaction():
        ledger.forget(event.event_id)
    with connection.transaction():
        for refusal in ledger.record([event]).refused:
            raise AnalyticsError(f"{reject.source_key} can't be accepted: {refusal.rejection.reason}")
        resolve_rejects(connection, reject.source, [reject.source_key])
