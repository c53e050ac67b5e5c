"""What is stored of users, against the events that remain."""

from datetime import UTC, datetime, timedelta

from analytics_pipeline.asset_names import USERS
from analytics_pipeline.health.check_result import CheckResult, Violation
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import LOGS_DAYS
from analytics_pipeline.timescale.connection import Connection, fetch_row, one_state
from analytics_pipeline.timescale.invalidation import days_of, stale_ranges
from analytics_pipeline.windows import Granularity, Window

CHECK = "users_match_events"
# What is proved both ways; of what is older a sample, another one each day, is looked up.
LOOK_BACK = timedelta(days=35)
SAMPLE = 500
_MAX_SHOWN = 5
_EVER = Window(datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))


def users_match_events(
    connection: Connection,
    settings: Settings,  # noqa: ARG001  # a check's form
    window: Window | None = None,
) -> CheckResult:
    """Judge that stored users, deletions and returns are those of the events; autocommit connection.

    Those of the last 35 days of a window; without one of the last 35 days, with a sample of older facts. Days whose
    events have changed since are left out, they are closed again, and so is what lies behind the retention horizon.
    """
    now = datetime.now(UTC)
    until = window.end if window is not None else now
    since = Granularity.DAY.floor(until - LOOK_BACK)
    if window is not None:
        since = max(since, window.start)
    with one_state(connection):
        stale = days_of(stale_ranges(connection, _EVER, LOGS_DAYS))
        users, sampled, differing, first, last, examples = fetch_row(
            connection,
            load_query("users_against_events"),
            {
                "since": since,
                "until": until,
                "stale_starts": [day.start for day in stale],
                "stale_ends": [day.end for day in stale],
                "seed": now.date().toordinal(),
                "sample": SAMPLE if window is None else 0,
                "most": _MAX_SHOWN,
            },
        )
    problems = []
    if differing:
        more = f"; and {differing - len(examples)} more" if differing > len(examples) else ""
        problems.append(
            Violation(
                f"what is stored of users differs from the events in {differing} places: {'; '.join(examples)}{more}",
                f"analytics-pipeline close --start {first:%Y-%m-%d} --end {last + timedelta(days=1):%Y-%m-%d}",
            )
        )
    return CheckResult.judge(
        CHECK,
        USERS,
        problems,
        good=f"What is stored of the {users} users of the closed days of {Window(since, until)}, and {sampled} older "
        "facts by sample, equal the events.",
        metadata={
            "users compared": users,
            "facts sampled": sampled,
            "differences": differing,
            "examples": examples,
        },
        limits={"differences allowed": 0},
    )
