"""What is stored of users, against the events that remain."""

from datetime import UTC, datetime, timedelta

from analytics_pipeline.health.finding import Finding, Problem
from analytics_pipeline.metrics.users import USERS
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.aggregates import AGGREGATES, EVENTS
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.windows import Cadence, Window

CHECK = "users_match_events"
# What is proved both ways; of what is older a sample, another one each day, is looked up.
LOOK_BACK = timedelta(days=35)
SAMPLE = 500
_MAX_SHOWN = 5
# Logs every event that is added or removed in a closed day.
_LOGGED_BY = next(a.name for a in AGGREGATES if a.cadence is Cadence.DAY and a.source == EVENTS)
_EVER = Window(datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))


def users_match_events(connection: Connection, settings: Settings) -> Finding:  # noqa: ARG001  # a check's form
    """Judge that stored users, deletions and returns are those of the events.

    Days that wait to be closed again are left out, and what lies behind the retention horizon.
    """
    now = datetime.now(UTC)
    stale = stale_ranges(connection, _EVER, _LOGGED_BY)
    users, sampled, differing, first, last, examples = fetch_row(
        connection,
        load_sql("queries/users_against_events.sql"),
        {
            "since": Cadence.DAY.floor(now - LOOK_BACK),
            "stale_starts": [Cadence.DAY.floor(each.first) for each in stale],
            "stale_ends": [Cadence.DAY.next(Cadence.DAY.floor(each.last)) for each in stale],
            "seed": now.date().toordinal(),
            "sample": SAMPLE,
            "most": _MAX_SHOWN,
        },
    )
    problems = []
    if differing:
        more = f"; and {differing - len(examples)} more" if differing > len(examples) else ""
        problems.append(
            Problem(
                f"what is stored of users differs from the events in {differing} places: {'; '.join(examples)}{more}",
                f"analytics-pipeline close --start {first:%Y-%m-%d} --end {last + timedelta(days=1):%Y-%m-%d}",
            )
        )
    return Finding.judge(
        CHECK,
        USERS,
        problems,
        good=f"What is stored of the {users} users of the last {LOOK_BACK.days} closed days, and {sampled} older "
        "facts by sample, equal the events.",
        metadata={
            "users compared": users,
            "facts sampled": sampled,
            "differences": differing,
            "differences allowed": 0,
            "examples": examples,
        },
    )
