"""Closing partitions: which are open, closed, stale or missing, in which order they are closed, and what proves them.

The three sources of staleness stand side by side in ``late_events``: TimescaleDB's invalidation log (events), the table
of noted changes (what figures stand on), and the order of materialisations (reports on figures). ``jobs`` names what
there is to close, ``state`` reads what is closed, ``plan`` decides what runs next, ``attempts`` and ``proofs`` write
down how it went.
"""

from dagster import Definitions

from analytics_pipeline.orchestration.closing.failed_partitions import build_failed_check
from analytics_pipeline.orchestration.closing.gaps import build_gaps_sensor
from analytics_pipeline.orchestration.closing.late_events import build_late_sensor
from analytics_pipeline.orchestration.closing.local_closing import build_local_job, build_local_sensor
from analytics_pipeline.orchestration.closing.proofs import build_window_checks
from analytics_pipeline.orchestration.closing.recorded_partitions import build_recorded_check
from analytics_pipeline.orchestration.closing.schedules import build_closing_jobs, build_closing_schedules
from analytics_pipeline.settings import Settings


def defs(settings: Settings) -> Definitions:
    """Return the jobs that close partitions, what starts them, and the checks of what they close."""
    jobs = build_closing_jobs(settings)
    return Definitions(
        asset_checks=[
            *build_window_checks(settings),
            build_failed_check(settings),
            build_recorded_check(settings),
        ],
        jobs=[*jobs, build_local_job()],
        schedules=build_closing_schedules(settings),
        sensors=[build_gaps_sensor(settings, jobs), build_late_sensor(settings, jobs), build_local_sensor()],
    )
