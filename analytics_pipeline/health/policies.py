"""The policies: present, as the settings ask for, scheduled as wanted, and effective."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from analytics_pipeline.health.finding import Finding, Problem, Severity
from analytics_pipeline.health.freshness import lag_of_data
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.aggregates import AGGREGATES, EVENTS
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.job_health import JobHealth, read_job_health
from analytics_pipeline.timescale.policies import (
    COMPRESSION,
    REFRESH,
    RETENTION,
    Policy,
    read_policies,
    same_configuration,
    wanted_policies,
)

# How late a policy may be before its effect is missed: its job runs twice a day to daily, and a new
# retention policy waits a day before its first run.
SLACK = timedelta(days=2)
# After a start of the server its jobs first have to catch up with what they missed.
CATCH_UP = timedelta(minutes=10)
# A job is late when its next start lies this far in the past.
LATE_START = timedelta(hours=1)

MIGRATE = "analytics-pipeline db migrate"


def refresh_policies(connection: Connection, settings: Settings) -> Finding:
    """Judge the refresh policies of the aggregates: registered as declared, scheduled for their owner only."""
    problems, metadata = _drift(connection, settings, REFRESH)
    owner = "Dagster" if settings.refresh_owner == "dagster" else "TimescaleDB"
    return Finding.judge(
        "refresh_policies",
        EVENTS,
        problems,
        good=f"All {len(AGGREGATES)} refresh policies are as declared; {owner} refreshes.",
        metadata=metadata | {"refresh owner": settings.refresh_owner},
    )


def compression_policy(connection: Connection, settings: Settings) -> Finding:
    """Judge the compression policy by its configuration, and by old chunks that are still uncompressed."""
    problems, metadata = _drift(connection, settings, COMPRESSION)
    overdue = _overdue(connection, settings.compress_after, uncompressed_only=True)
    metadata |= _overdue_metadata(overdue, settings.compress_after)
    if overdue.chunks and not _waits_for_first_run(connection, COMPRESSION):
        problems.append(
            Problem(
                f"{overdue} are older than {settings.compress_after} and {SLACK.days} days, and uncompressed",
                _run_job_statement(connection, COMPRESSION),
                Severity.WARNING,
            )
        )
    return Finding.judge(
        "compression_policy",
        EVENTS,
        problems,
        good=f"Chunks are compressed after {settings.compress_after}; none is overdue.",
        metadata=metadata,
    )


def retention_policy(connection: Connection, settings: Settings) -> Finding:
    """Judge the retention policy: configuration, effect, and that no refresh window reaches what it drops."""
    problems, metadata = _drift(connection, settings, RETENTION)
    reaching = _windows_into_retention(connection)
    metadata |= {"refresh windows reaching into retention": reaching, "such windows allowed": 0}
    problems += [
        Problem(
            f"the refresh window of {relation} starts {start} back, in reach of what retention drops after "
            f"{drop_after}: a refresh would erase history",
            MIGRATE,
        )
        for relation, start, drop_after in reaching
    ]
    if settings.keeps_events_forever:
        good = "Raw events are kept for ever, as ANALYTICS_RETENTION=never asks."
    else:
        good = f"Raw events are dropped after {settings.retention}; none is overdue, and no refresh reaches there."
        overdue = _overdue(connection, settings.retention, uncompressed_only=False)
        metadata |= _overdue_metadata(overdue, settings.retention)
        if overdue.chunks and not _waits_for_first_run(connection, RETENTION):
            problems.append(
                Problem(
                    f"{overdue} are older than {settings.retention} and {SLACK.days} days, and still there",
                    _run_job_statement(connection, RETENTION),
                )
            )
    return Finding.judge("retention_policy", EVENTS, problems, good=good, metadata=metadata)


def policy_jobs_healthy(connection: Connection, settings: Settings) -> Finding:
    """Judge the jobs behind the policies that are to run: none paused, late, failing, or with its work undone.

    What a job did counts, not only what is recorded of it.
    """
    wanted = {(p.procedure, p.relation) for p in wanted_policies(settings) if p.scheduled}
    policies = [p for p in read_policies(connection) if (p.procedure, p.relation) in wanted]
    health = {job.job_id: job for job in read_job_health(connection)}
    times = _read_times(connection)
    problems: list[Problem] = []
    for policy in policies:
        job = health.get(policy.job_id or 0)
        if job is not None:
            problems += _job_problems(connection, settings, policy, job, times.get(job.job_id))
    return Finding.judge(
        "policy_jobs_healthy",
        EVENTS,
        problems,
        good=f"{len(policies)} scheduled jobs do their work.",
        metadata={
            "jobs": [
                {
                    "job": job.job_id,
                    "procedure": job.procedure,
                    "relation": job.relation,
                    "last start": job.started_at,
                    "last run succeeded": job.succeeded,
                    "failures since the last success": job.failures,
                    "last error": job.error,
                }
                for job in (health.get(p.job_id or 0) for p in policies)
                if job is not None
            ],
            "failing jobs allowed": 0,
            "start allowed to be late (hours)": LATE_START / timedelta(hours=1),
        },
    )


def _job_problems(
    connection: Connection, settings: Settings, policy: Policy, job: JobHealth, times: "_JobTimes | None"
) -> Iterable[Problem]:
    name = f"job {job.job_id} ({job.name})"
    if not policy.scheduled:
        why = f" after {job.failures} failures ({job.error})" if job.failures else ""
        yield Problem(
            f"{name} is paused{why} and runs no more",
            f"SELECT alter_job({job.job_id}, scheduled => true, max_retries => -1, next_start => now());",
        )
        return
    if times is not None and times.is_late:
        yield Problem(
            f"{name} should have started at {times.next_start:%Y-%m-%d %H:%M} UTC and has not",
            "SELECT _timescaledb_functions.start_background_workers();",
        )
    run = f"CALL run_job({job.job_id});"
    failing = f"; it fails: {job.error}" if job.is_failing else ""
    if _work_is_overdue(connection, settings, policy):
        yield Problem(f"the work of {name} is overdue{failing}", run)
    elif failing:
        yield Problem(f"nothing of {name} is overdue yet{failing}", run, Severity.WARNING)


def _work_is_overdue(connection: Connection, settings: Settings, policy: Policy) -> bool:
    if policy.procedure == REFRESH:
        aggregate = next(a for a in AGGREGATES if a.name == policy.relation)
        return lag_of_data(connection, settings, aggregate).oldest_waiting is not None
    if policy.relation != EVENTS or _waits_for_first_run(connection, policy.procedure):
        return False
    if policy.procedure == COMPRESSION:
        return _overdue(connection, settings.compress_after, uncompressed_only=True).chunks > 0
    return _overdue(connection, settings.retention, uncompressed_only=False).chunks > 0


@dataclass(frozen=True, slots=True)
class _JobTimes:
    """When a job was to start first, and when it is to start next; the embedded server has no such plan.

    ``now`` is when that was read, by the server's clock.
    """

    job_id: int
    schedule_interval: timedelta
    initial_start: datetime | None
    next_start: datetime | None
    now: datetime

    @property
    def is_late(self) -> bool:
        allowed = max(LATE_START, self.schedule_interval)
        return self.next_start is not None and self.next_start + allowed < self.now


def _read_times(connection: Connection) -> dict[int, _JobTimes]:
    rows = connection.execute(load_sql("queries/policy_job_times.sql")).fetchall()
    now = database_now(connection)
    return {job_id: _JobTimes(job_id, every, first, following, now) for job_id, every, first, following in rows}


@dataclass(frozen=True, slots=True)
class _Overdue:
    chunks: int
    first: datetime | None
    last: datetime | None

    def __str__(self) -> str:
        return f"{self.chunks} chunks of {self.first:%Y-%m-%d} to {self.last:%Y-%m-%d}"


def _overdue(connection: Connection, age: str, *, uncompressed_only: bool) -> _Overdue:
    parameters = {"age": age, "slack": SLACK, "catch_up": CATCH_UP, "uncompressed_only": uncompressed_only}
    return _Overdue(*fetch_row(connection, load_sql("queries/overdue_chunks.sql"), parameters))


def _overdue_metadata(overdue: _Overdue, age: str) -> dict[str, Any]:
    return {
        "overdue chunks": overdue.chunks,
        "overdue chunks allowed": 0,
        "overdue beyond": f"{age} and {SLACK.days} days",
    }


def _waits_for_first_run(connection: Connection, procedure: str) -> bool:
    """Tell whether the policy on the events is so new that its work can't have been done yet."""
    times = _read_times(connection).get(_job_id(connection, procedure) or 0)
    return times is not None and times.initial_start is not None and times.initial_start + SLACK > times.now


def _run_job_statement(connection: Connection, procedure: str) -> str:
    job_id = _job_id(connection, procedure)
    return MIGRATE if job_id is None else f"CALL run_job({job_id});"


def _job_id(connection: Connection, procedure: str) -> int | None:
    found = (p.job_id for p in read_policies(connection) if p.procedure == procedure and p.relation == EVENTS)
    return next(found, None)


def _windows_into_retention(connection: Connection) -> list[list[str]]:
    rows = connection.execute(load_sql("queries/refresh_windows_into_retention.sql")).fetchall()
    return [list(row) for row in rows]


def _drift(connection: Connection, settings: Settings, procedure: str) -> tuple[list[Problem], dict[str, Any]]:
    wanted = {p.relation: p for p in wanted_policies(settings) if p.procedure == procedure}
    found = {p.relation: p for p in read_policies(connection) if p.procedure == procedure}
    problems = []
    for relation, policy in wanted.items():
        current = found.get(relation)
        if current is None:
            problems.append(Problem(f"{relation} has no {procedure}", MIGRATE))
        elif not same_configuration(connection, policy, current):
            problems.append(
                Problem(f"{procedure} on {relation} is {_describe(current)}, wanted is {_describe(policy)}", MIGRATE)
            )
        elif current.scheduled and not policy.scheduled:
            problems.append(Problem(f"{procedure} on {relation} is scheduled, and Dagster refreshes it too", MIGRATE))
        elif policy.scheduled and not current.scheduled:
            problems.append(Problem(f"{procedure} on {relation} is not scheduled, so it does nothing", MIGRATE))
    problems += [
        Problem(f"{relation} has a {procedure} ({_describe(found[relation])}) that the settings don't ask for", MIGRATE)
        for relation in found.keys() - wanted.keys()
    ]
    metadata = {
        "found": {relation: _describe(policy) for relation, policy in found.items()},
        "wanted": {relation: _describe(policy) for relation, policy in wanted.items()},
    }
    return problems, metadata


def _describe(policy: Policy) -> str:
    # The engine adds options of its own to a configuration: the declared ones say what the policy does.
    offsets = {
        k: v for k, v in policy.config.items() if k in {"compress_after", "drop_after", "start_offset", "end_offset"}
    }
    words = ", ".join(f"{name} {value}" for name, value in offsets.items()) or "without limits"
    return words if policy.scheduled else f"{words}, not scheduled"
