"""Subscription events that are in no figure: whoever wrote them past the ingestion left something out."""

from datetime import timedelta

from analytics_pipeline.events.catalogue import KNOWN_TYPES
from analytics_pipeline.events.model import AnalyticsEvent, check_event
from analytics_pipeline.events.rejection import RejectedEvent
from analytics_pipeline.health.finding import Finding, Problem, Severity
from analytics_pipeline.metrics.subscriptions import SUBSCRIPTIONS_ASSET
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.aggregates import EVENTS
from analytics_pipeline.timescale.connection import Connection

CHECK = "subscription_events"
LOOK_BACK = timedelta(days=35)
_MOST_LISTED = 10
_MOST_TOLD = 3
_TYPES = [name for name, known in KNOWN_TYPES.items() if known.category == "subscription"]


def subscription_events(connection: Connection, settings: Settings) -> Finding:  # noqa: ARG001  # a check's form
    """Judge that every change of a subscription of the last 35 days says what its monthly amount is made of."""
    parameters = {"look_back": LOOK_BACK, "types": _TYPES, "most": _MOST_LISTED}
    rows = connection.execute(load_sql("queries/malformed_subscription_events.sql"), parameters).fetchall()
    events = [AnalyticsEvent(*row[:-1]) for row in rows]
    count = rows[0][-1] if rows else 0
    problems = []
    if events:
        more = f"; and {count - _MOST_TOLD} more" if count > _MOST_TOLD else ""
        problems.append(
            Problem(
                f"{count} changes of subscriptions in the last {LOOK_BACK.days} days are in no figure, because they "
                f"don't say all that a change has to say: {'; '.join(map(_describe, events[:_MOST_TOLD]))}{more}",
                _correction(events[0]),
                Severity.WARNING,
            )
        )
    return Finding.judge(
        CHECK,
        SUBSCRIPTIONS_ASSET,
        problems,
        good=f"Every change of a subscription in the last {LOOK_BACK.days} days says all it has to say.",
        metadata={
            "changes in no figure": count,
            "such changes allowed": 0,
            "the newest of them": [_describe(event) for event in events],
            "days looked at": LOOK_BACK.days,
        },
    )


def _describe(event: AnalyticsEvent) -> str:
    when = f"{event.timestamp:%Y-%m-%d %H:%M}Z"
    return f"{event.event_type} {event.event_id} of {event.company_id}, {when}: {_reason(event)}"


def _correction(event: AnalyticsEvent) -> str:
    # For people to read, complete and run: it is not executed here.
    of_event = f"event_id = '{event.event_id}' AND \"timestamp\" = '{event.timestamp:%Y-%m-%d %H:%M:%S.%f}+00'"
    change = "metadata = metadata || '{\"<key>\": <value>}'"
    return f"UPDATE {EVENTS} SET {change} WHERE {of_event}; -- and so on; then close these days again"  # noqa: S608


def _reason(event: AnalyticsEvent) -> str:
    """Say what the ingestion would have said."""
    try:
        check_event(event)
    except RejectedEvent as rejected:
        return rejected.reason.rstrip(".")
    return "its metadata is incomplete"
