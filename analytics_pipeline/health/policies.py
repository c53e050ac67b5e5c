"""The policies: present, as the database wants them, scheduled as wanted, and effective."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from analytics_pipeline.ages import NEVER
from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation
from analytics_pipeline.health.freshness import lag_of_data
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.expiry import archive_record, has_archive
from analytics_pipeline.timescale.job_health import JobHealth, read_job_health
from analytics_pipeline.timescale.policies import (
    APPLY,
    COMPRESSION,
    REFRESH,
    RETENTION,
    Policy,
    PolicyValues,
    policy_differences,
    policy_values,
    read_policies,
    wanted_policies,
)
from analytics_pipeline.timescale.server import CONCURRENT_REFRESH_FIXED, server_info, version_text

# How late a policy may be before its effect is missed: its job runs twice a day to daily, and a new
# retention policy waits a day before its first run.
SLACK = timedelta(days=2)
# After a start of the server its jobs first have to catch up with what they missed.
CATCH_UP = timedelta(minutes=10)
# A job is late when its next start lies this far in the past.
LATE_START = timedelta(hours=1)


def refresh_policies(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge the refresh policies of the aggregates: registered as declared, scheduled for their owner only."""
    values = policy_values(connection)
    problems, metadata = _drift(connection, values, REFRESH)
    owner = "Dagster" if values.refresh_owner == "dagster" else "TimescaleDB"
    server = server_info(connection)
    if values.refresh_owner == "timescaledb" and not server.allows_engine_refresh:
        problems.append(
            Violation(
                f"TimescaleDB {server.timescaledb_version} refreshes beside Dagster, and before "
                f"{version_text(CONCURRENT_REFRESH_FIXED)} concurrent refreshes duplicate rows",
                "analytics-pipeline db policies --refresh-owner dagster",
            )
        )
    return CheckResult.judge(
        "refresh_policies",
        EVENTS,
        problems,
        good=f"All {len(AGGREGATES)} refresh policies are as declared; {owner} refreshes.",
        metadata=metadata | {"refresh owner": values.refresh_owner},
        limits={"such policies allowed": 0},
    )


def compression_policy(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge the compression policy by its configuration, and by old chunks that are still uncompressed."""
    values = policy_values(connection)
    problems, metadata = _drift(connection, values, COMPRESSION)
    limits: dict[str, Any] = {}
    if values.compress_after == NEVER:
        good = "Chunks stay uncompressed, as this database wants."
    else:
        good = f"Chunks are compressed after {values.compress_after}; none is overdue."
        overdue = _overdue(connection, values.compress_after, uncompressed_only=True)
        metadata |= {"overdue chunks": overdue.chunks}
        limits |= _overdue_limits(values.compress_after)
        if overdue.chunks and not _waits_for_first_run(connection, COMPRESSION):
            problems.append(
                Violation(
                    f"{overdue} are older than {values.compress_after} and {SLACK.days} days, and uncompressed",
                    _run_job_statement(connection, COMPRESSION),
                    Severity.WARNING,
                )
            )
    return CheckResult.judge("compression_policy", EVENTS, problems, good=good, metadata=metadata, limits=limits)


def retention_policy(connection: Connection, settings: Settings) -> CheckResult:
    """Judge the retention policy: configuration, effect, and that no refresh window reaches what it drops.

    In a database with an archive the policy is registered and not scheduled: what is archived is dropped from there.
    """
    values = policy_values(connection)
    problems, metadata = _drift(connection, values, RETENTION)
    reaching = _windows_into_retention(connection)
    metadata |= {
        "refresh windows reaching into retention": len(reaching),
        "relations with such windows": [relation for relation, _, _ in reaching],
    }
    limits: dict[str, Any] = {"such windows allowed": 0}
    problems += [
        Violation(
            f"the refresh window of {relation} starts {start} back, in reach of what retention drops after "
            f"{drop_after}: a refresh would erase history",
            APPLY,
        )
        for relation, start, drop_after in reaching
    ]
    archive = archive_record(connection)
    way = "" if archive is None else f" by way of the archive at {archive.location}"
    if values.retention == NEVER:
        good = "Raw events are kept for ever, as this database wants."
    else:
        good = f"Raw events are dropped after {values.retention}{way}; none is overdue, and no refresh reaches there."
        overdue = _overdue(connection, values.retention, uncompressed_only=False)
        metadata |= {"overdue chunks": overdue.chunks}
        limits |= _overdue_limits(values.retention)
        if overdue.chunks and (archive is not None or not _waits_for_first_run(connection, RETENTION)):
            remedy = _run_job_statement(connection, RETENTION) if archive is None else "analytics-pipeline archive run"
            problems.append(
                Violation(f"{overdue} are older than {values.retention} and {SLACK.days} days, and still there", remedy)
            )
    if archive is not None:
        metadata |= {"archive": archive.location}
        if not settings.archive:
            problems.append(
                Violation(
                    f"events are dropped by way of the archive at {archive.location}, and ANALYTICS_ARCHIVE names no "
                    "place here, so nothing is dropped: set it",
                    severity=Severity.WARNING,
                )
            )
    return CheckResult.judge("retention_policy", EVENTS, problems, good=good, metadata=metadata, limits=limits)


def policy_jobs_healthy(connection: Connection, settings: Settings) -> CheckResult:
    """Judge the jobs behind the policies that are to run: none paused, late, failing, or with its work undone.

    What a job did counts, not only what is recorded of it.
    """
    values = policy_values(connection)
    running = [p for p in wanted_policies(values, archived=has_archive(connection)) if p.scheduled]
    wanted = {(p.procedure, p.relation) for p in running}
    policies = [p for p in read_policies(connection) if (p.procedure, p.relation) in wanted]
    health = {job.job_id: job for job in read_job_health(connection)}
    times = _read_times(connection)
    jobs = [(policy, job) for policy in policies if (job := health.get(policy.job_id or 0)) is not None]
    problems: list[Violation] = []
    for policy, job in jobs:
        problems += _job_problems(connection, settings, values, policy, job, times.get(job.job_id))
    return CheckResult.judge(
        "policy_jobs_healthy",
        EVENTS,
        problems,
        good=f"{len(policies)} scheduled jobs do their work.",
        metadata={
            "failing jobs": sum(job.is_failing for _, job in jobs),
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
                for _, job in jobs
            ],
        },
        limits={
            "failing jobs allowed": 0,
            "start allowed to be late (hours)": LATE_START / timedelta(hours=1),
        },
    )


def _job_problems(
    connection: Connection,
    settings: Settings,
    values: PolicyValues,
    policy: Policy,
    job: JobHealth,
    times: "_JobTimes | None",
) -> Iterable[Violation]:
    name = f"job {job.job_id} ({job.name})"
    if not policy.scheduled:
        why = f" after {job.failures} failures ({job.error})" if job.failures else ""
        yield Violation(
            f"{name} is paused{why} and runs no more",
            f"SELECT alter_job({job.job_id}, scheduled => true, max_retries => -1, next_start => now());",
        )
        return
    if times is not None and times.is_late:
        yield Violation(
            f"{name} should have started at {times.next_start:%Y-%m-%d %H:%M} UTC and has not",
            "SELECT _timescaledb_functions.start_background_workers();",
        )
    run = f"CALL run_job({job.job_id});"
    failing = f"; it fails: {job.error}" if job.is_failing else ""
    if _work_is_overdue(connection, settings, values, policy):
        yield Violation(f"the work of {name} is overdue{failing}", run)
    elif failing:
        yield Violation(f"nothing of {name} is overdue yet{failing}", run, Severity.WARNING)


def _work_is_overdue(connection: Connection, settings: Settings, values: PolicyValues, policy: Policy) -> bool:
    if policy.procedure == REFRESH:
        aggregate = next(a for a in AGGREGATES if a.name == policy.relation)
        return lag_of_data(connection, settings, aggregate).oldest_waiting is not None
    if policy.relation != EVENTS or _waits_for_first_run(connection, policy.procedure):
        return False
    if policy.procedure == COMPRESSION:
        return _overdue(connection, values.compress_after, uncompressed_only=True).chunks > 0
    return _overdue(connection, values.retention, uncompressed_only=False).chunks > 0


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
    rows = connection.execute(load_query("policy_job_times")).fetchall()
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
    return _Overdue(*fetch_row(connection, load_query("overdue_chunks"), parameters))


def _overdue_limits(age: str) -> dict[str, Any]:
    return {"overdue chunks allowed": 0, "overdue beyond": f"{age} and {SLACK.days} days"}


def _waits_for_first_run(connection: Connection, procedure: str) -> bool:
    """Return whether the policy on the events is so new that its work can't have been done yet."""
    times = _read_times(connection).get(_job_id(connection, procedure) or 0)
    return times is not None and times.initial_start is not None and times.initial_start + SLACK > times.now


def _run_job_statement(connection: Connection, procedure: str) -> str:
    job_id = _job_id(connection, procedure)
    return APPLY if job_id is None else f"CALL run_job({job_id});"


def _job_id(connection: Connection, procedure: str) -> int | None:
    found = (p.job_id for p in read_policies(connection) if p.procedure == procedure and p.relation == EVENTS)
    return next(found, None)


def _windows_into_retention(connection: Connection) -> list[list[str]]:
    rows = connection.execute(load_query("refresh_windows_into_retention")).fetchall()
    return [list(row) for row in rows]


def _drift(connection: Connection, values: PolicyValues, procedure: str) -> tuple[list[Violation], dict[str, Any]]:
    differences = policy_differences(connection, values)
    problems = [Violation(difference.text, APPLY) for difference in differences if difference.procedure == procedure]
    wanted = wanted_policies(values, archived=has_archive(connection))
    metadata: dict[str, Any] = {
        "policies that differ": len(problems),
        "found": {p.relation: str(p) for p in read_policies(connection) if p.procedure == procedure},
        "wanted": {p.relation: str(p) for p in wanted if p.procedure == procedure},
    }
    return problems, metadata
