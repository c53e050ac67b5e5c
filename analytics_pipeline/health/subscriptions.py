"""What is stored of subscriptions against the events; changes that are in no figure, or ordered by their ids alone."""

from datetime import datetime, timedelta

from psycopg import sql

from analytics_pipeline.asset_names import EVENTS, SUBSCRIPTIONS_ASSET
from analytics_pipeline.events.event_types import KNOWN_TYPES
from analytics_pipeline.events.model import AnalyticsEvent, check_event
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import LOGS_DAYS
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row, one_state
from analytics_pipeline.timescale.invalidation import days_of, stale_ranges
from analytics_pipeline.timescale.refresh import retention_horizon
from analytics_pipeline.windows import Granularity, Window

MATCH_CHECK = "subscriptions_match_events"
CHECK = "subscription_events"
ORDER_CHECK = "subscription_order"
LOOK_BACK = timedelta(days=35)
_MAX_LISTED = 10
_MAX_SHOWN = 3
_TYPES = [name for name, known in KNOWN_TYPES.items() if known.category == "subscription"]


def subscriptions_match_events(
    connection: Connection,
    settings: Settings,  # noqa: ARG001  # a check's form
    window: Window | None = None,
) -> CheckResult:
    """Judge that stored subscriptions are what the events of a window, or of the last 35 days, give; autocommit.

    Of a longer window the newest 35 days. Days whose events have changed since are left out, they are closed again, and
    so is what lies behind the retention horizon.
    """
    horizon = retention_horizon(connection)
    end = window.end if window is not None else Granularity.DAY.floor(database_now(connection))
    start = Granularity.DAY.floor(end - LOOK_BACK)
    if window is not None:
        start = max(start, window.start)
    judged = Window(start, end)
    with one_state(connection):
        stale = days_of(stale_ranges(connection, judged, LOGS_DAYS))
        stored, differing, first, last, examples = fetch_row(
            connection,
            load_query("subscriptions_against_events"),
            {
                "start": start,
                "end": end,
                "horizon": horizon,
                "stale_starts": [day.start for day in stale],
                "stale_ends": [day.end for day in stale],
                "most": _MAX_SHOWN,
            },
        )
    problems = []
    if differing:
        more = f"; and {differing - len(examples)} more" if differing > len(examples) else ""
        problems.append(
            Violation(
                f"{differing} changes of subscriptions are not stored as the events give them: "
                f"{'; '.join(examples)}{more}",
                f"analytics-pipeline close --start {first:%Y-%m-%d} --end {last + timedelta(days=1):%Y-%m-%d}",
            )
        )
    return CheckResult.judge(
        MATCH_CHECK,
        SUBSCRIPTIONS_ASSET,
        problems,
        good=f"All {stored} stored changes of the subscriptions of {judged} are those that the events give.",
        metadata={
            "window": str(judged),
            "changes compared": stored,
            "differences": differing,
            "examples": examples,
        },
        limits={"differences allowed": 0},
    )


def subscription_events(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge that every change of a subscription of the last 35 days says what its monthly amount is made of."""
    parameters = {"look_back": LOOK_BACK, "types": _TYPES, "most": _MAX_LISTED}
    rows = connection.execute(load_query("malformed_subscription_events"), parameters).fetchall()
    events = [AnalyticsEvent(*row[:-1]) for row in rows]
    count = rows[0][-1] if rows else 0
    problems = []
    if events:
        more = f"; and {count - _MAX_SHOWN} more" if count > _MAX_SHOWN else ""
        problems.append(
            Violation(
                f"{count} changes of subscriptions in the last {LOOK_BACK.days} days are in no figure, because they "
                f"don't say all that a change has to say: {'; '.join(map(_describe, events[:_MAX_SHOWN]))}{more}",
                _correction(events[0]),
                Severity.WARNING,
            )
        )
    return CheckResult.judge(
        CHECK,
        SUBSCRIPTIONS_ASSET,
        problems,
        good=f"Every change of a subscription in the last {LOOK_BACK.days} days says all it has to say.",
        metadata={
            "changes in no figure": count,
            "the newest of them": [_describe(event) for event in events],
        },
        limits={
            "such changes allowed": 0,
            "days looked at": LOOK_BACK.days,
        },
    )


def subscription_order(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge that of several changes of a subscription at one instant something better than an id says which counts.

    Changes behind the retention horizon are left out: no event is left there that could be given a sequence.
    """
    parameters = {"horizon": retention_horizon(connection), "most": _MAX_LISTED}
    rows = connection.execute(load_query("subscriptions_ordered_by_id"), parameters).fetchall()
    named = [f"{subscription} of {company} at {at:%Y-%m-%dT%H:%M:%S.%f}Z" for company, subscription, at, _ in rows]
    count = rows[0][-1] if rows else 0
    problems = []
    if named:
        more = f"; and {count - _MAX_SHOWN} more" if count > _MAX_SHOWN else ""
        company, subscription, at, _ = rows[0]
        problems.append(
            Violation(
                f"{count} times several changes of a subscription are of one instant and arrived together, and only "
                f"their ids say which one counts: {'; '.join(named[:_MAX_SHOWN])}{more}; let their source send "
                "metadata.sequence, and number those that are stored",
                _numbering(company, subscription, at),
                fallback=f"analytics-pipeline close --start {at:%Y-%m-%d} --end {at + timedelta(days=1):%Y-%m-%d}",
            )
        )
    return CheckResult.judge(
        ORDER_CHECK,
        SUBSCRIPTIONS_ASSET,
        problems,
        good="No id decides which of several changes of a subscription at one instant counts.",
        metadata={
            "instants at which an id decides": count,
            "the newest of them": named,
        },
        limits={"such instants allowed": 0},
    )


def _numbering(company: str, subscription: str, at: datetime) -> str:
    # For people to read, complete and run: it is not executed here.
    instant = f"{at:%Y-%m-%d %H:%M:%S.%f}+00"
    of_event = (
        f"event_id = '<id>' AND company_id = {_literal(company)} AND \"timestamp\" = '{instant}' "
        f"AND metadata ->> 'subscription_id' = {_literal(subscription)}"
    )
    change = "metadata = metadata || '{\"sequence\": <1, 2, ...>}'"
    return f"UPDATE {EVENTS} SET {change} WHERE {of_event}; -- each event of that instant, the last one highest"  # noqa: S608


def _literal(text: str) -> str:
    return sql.Literal(text).as_string()


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
