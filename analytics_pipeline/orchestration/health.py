"""The checks of the database as asset checks, generated from ``analytics_pipeline.health``, and what runs them.

Blocking checks, those of the set-up, are steps of their own, so that only what is built on their asset waits for them;
all the others share one step and one connection. None looks at the partitions of a run (``closing.proofs`` does).

What speaks of an asset as a whole is judged by the sensor ``check_states`` once a run over it has ended: no run has to,
and none is launched for it. Inside a run ``no_failed_partitions`` would not know yet how the run ends, and a range
would leave a row of Dagster's storage for each partition and check. So the sensor follows the ends of runs in the event
log and reports the checks of their assets. The proofs of the newest closed periods take too long for a tick: the job
``checks`` runs them each day, and is asked for those that have failed, since a run may have remedied what they found.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    AssetSelection,
    DagsterInstance,
    Definitions,
    Failure,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.database import reading
from analytics_pipeline.health.check_result import CheckResult
from analytics_pipeline.health.checks import HealthCheck, all_checks, run_check, window_checks
from analytics_pipeline.orchestration.check_results import check_evaluation, check_result, window_judged
from analytics_pipeline.orchestration.closing.covering_runs import covered_by
from analytics_pipeline.orchestration.closing.failed_partitions import CHECK as NO_FAILED_PARTITIONS
from analytics_pipeline.orchestration.closing.failed_partitions import judge_failed_partitions
from analytics_pipeline.orchestration.closing.jobs import partitioned_assets
from analytics_pipeline.orchestration.closing.recorded_partitions import CHECK as PARTITIONS_RECORDED
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.keys import asset_key, check_key
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs.paged_records import ended_runs
from analytics_pipeline.orchestration.sensors import pipeline_sensor
from analytics_pipeline.orchestration.shared import (
    AssetJob,
    pipeline_check,
    pipeline_checks,
    pipeline_job,
    pipeline_schedule,
)
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection

CHECKS_JOB = "checks"
FRESHNESS_JOB = "freshness"

# What goes wrong by itself within hours. Every evaluation leaves 5 kB in Dagster's storage permanently: all of
# the checks each hour would be 2 GB a year, these are half a gigabyte.
_HOURLY = ("clock", "up_to_date", "events_arrive", "policy_jobs_healthy")

_NAME = "check_states"
_INTERVAL_SECONDS = 30
# A tick begins no asset after that; the others are judged by the next one.
_MAX_SECONDS = 8.0
# All assets are judged so often, whatever has ended: somebody may have deleted runs.
_ALL_EVERY = timedelta(days=1)
_NEVER = datetime.min.replace(tzinfo=UTC)


def defs(settings: Settings) -> Definitions:
    """Return the checks of server, schema, policies, events and aggregates, and what runs them."""
    checks = all_checks()
    return Definitions(
        asset_checks=[
            *(_build_blocking_check(check, settings) for check in checks if check.blocking),
            _build_shared_checks([check for check in checks if not check.blocking], settings),
        ],
        jobs=_build_jobs(settings),
        schedules=[
            # By then the hour's partitions are closed.
            pipeline_schedule(
                "freshness_hourly", FRESHNESS_JOB, "25 * * * *", "Runs its job at 25 minutes past each hour."
            ),
            pipeline_schedule("checks_daily", CHECKS_JOB, "10 3 * * *", "Runs its job each day at 03:10 UTC."),
        ],
        sensors=[_build_sensor(settings)],
    )


def _build_blocking_check(check: HealthCheck, settings: Settings) -> AssetChecksDefinition:
    @pipeline_check(check.subject, check.name, check.description, settings, blocking=True)
    def _blocking_check(timescale: Timescale) -> AssetCheckResult:
        with timescale.session() as connection:
            return check_result(run_check(check, connection, timescale.settings), timescale.settings)

    return _blocking_check


def _build_shared_checks(checks: list[HealthCheck], settings: Settings) -> AssetChecksDefinition:
    by_key = {check_key(check.subject, check.name, settings): check for check in checks}

    @pipeline_checks(
        "database_checks",
        "The checks of the database that nothing has to wait for, over one connection.",
        [AssetCheckSpec(c.name, asset=asset_key(c.subject, settings), description=c.description) for c in checks],
    )
    def _database_checks(context: AssetCheckExecutionContext, timescale: Timescale) -> Iterator[AssetCheckResult]:
        refuted: list[CheckResult] = []
        with timescale.session() as connection, reading(timescale.settings, connection) as reader:
            for key, check in by_key.items():
                if key in context.selected_asset_check_keys:
                    # The proofs read much; what is asked of the server is asked of the one that is written to.
                    asked = connection if check.judge_window is None else reader
                    finding = run_check(check, asked, timescale.settings)
                    if check.judge_window is not None and not finding.passed:
                        refuted.append(finding)
                    yield check_result(finding, settings)
        if refuted and window_judged(context) is None:
            # A run of checks alone blocks nothing: by its failure operators are notified of figures that are wrong.
            reasons = "; ".join(f"{finding.check} of {finding.subject}: {finding.text}" for finding in refuted)
            raise Failure(description=reasons, allow_retries=False)

    return _database_checks


def _build_jobs(settings: Settings) -> list[AssetJob]:
    """Return the jobs that run checks alone, without materialising anything."""
    database = [check_key(check.subject, check.name, settings) for check in all_checks()]
    partitions = [check_key(asset, NO_FAILED_PARTITIONS, settings) for asset in partitioned_assets()]
    partitions.append(check_key(EVENTS, PARTITIONS_RECORDED, settings))
    return [
        pipeline_job(
            CHECKS_JOB,
            AssetSelection.checks(*database, *partitions),
            "Runs every check, with the proof of the last 35 days of what is closed.",
        ),
        pipeline_job(
            FRESHNESS_JOB,
            AssetSelection.checks(*(key for key in database if key.name in _HOURLY)),
            "Checks that clocks agree, events arrive, aggregates keep up with them, and policy jobs work.",
        ),
    ]


def _build_sensor(settings: Settings) -> SensorDefinition:
    """Return the sensor ``check_states``, switched on."""
    by_asset = _quick_checks()

    @pipeline_sensor(
        _NAME,
        _INTERVAL_SECONDS,
        "Judges no_failed_partitions and the other quick checks of an asset within a minute after a run over it "
        "has ended, and asks for a run of its proofs if one of them has failed before.",
        job=CHECKS_JOB,
    )
    def _check_states(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        cursor = _Cursor.load(context.cursor)
        judged: list[str] = []
        evaluations: list[AssetCheckEvaluation] = []
        deadline = time.monotonic() + _MAX_SECONDS
        with timescale.session() as connection:
            state = PartitionState(context.instance, connection, settings, database_now(connection))
            cursor.add(context.instance, state)
            for asset in cursor.pending:
                if time.monotonic() > deadline:
                    break
                evaluations += _judge(asset, by_asset.get(asset, []), state, connection, timescale.settings)
                judged.append(asset)
        cursor.pending = [asset for asset in cursor.pending if asset not in judged]
        failed = sorted(_failed_proofs(context.instance, settings, judged))
        request = RunRequest(run_key=f"{_NAME}:{cursor.seen}:{len(cursor.pending)}", asset_check_keys=failed)
        return SensorResult(
            asset_events=evaluations,
            run_requests=[request] if failed else [],
            skip_reason=None if failed else SkipReason(_describe(judged, cursor.pending)),
            cursor=cursor.dump(),
        )

    return _check_states


@dataclass
class _Cursor:
    """The last event that was read, the assets whose checks are to be judged, and when all of them last were."""

    seen: int | None = None
    pending: list[str] = field(default_factory=list)
    all_at: datetime = _NEVER

    @classmethod
    def load(cls, text: str | None) -> "_Cursor":
        if text is None:
            return cls()
        kept = json.loads(text)
        return cls(kept["seen"], kept["pending"], datetime.fromisoformat(kept["all_at"]))

    def dump(self) -> str:
        return json.dumps({"seen": self.seen, "pending": self.pending, "all_at": self.all_at.isoformat()})

    def add(self, instance: DagsterInstance, state: PartitionState) -> None:
        """Add the assets over which runs have ended since, or all of them where that is due."""
        assets = partitioned_assets()
        ended, newest = ended_runs(instance, after=self.seen)
        wanted = set(self.pending)
        if state.now - self.all_at >= _ALL_EVERY:
            wanted, self.all_at = set(assets), state.now
        elif ended:
            for run in instance.get_runs(RunsFilter(run_ids=sorted(ended))):
                covered = covered_by(run, state.settings)
                wanted |= covered[0] if covered is not None else set()
        self.seen = newest
        self.pending = [asset for asset in assets if asset in wanted]


def _quick_checks() -> dict[str, list[HealthCheck]]:
    """Return by asset the checks of its state that are no proofs."""
    found: dict[str, list[HealthCheck]] = {}
    for check in all_checks():
        if check.judge_window is None:
            found.setdefault(check.subject, []).append(check)
    return found


def _judge(
    asset: str, checks: Iterable[HealthCheck], state: PartitionState, connection: Connection, settings: Settings
) -> Iterator[AssetCheckEvaluation]:
    yield check_evaluation(judge_failed_partitions(state, asset), settings)
    for check in checks:
        yield check_evaluation(run_check(check, connection, settings), settings)


def _failed_proofs(instance: DagsterInstance, settings: Settings, assets: list[str]) -> Iterator[AssetCheckKey]:
    """Yield the proofs of the assets that failed when they were last judged."""
    keys = [check_key(check.subject, check.name, settings) for check in window_checks() if check.subject in assets]
    if not keys:
        return
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    for key, record in latest.items():
        if record.status.value == "FAILED":
            yield key


def _describe(judged: list[str], pending: list[str]) -> str:
    if not judged:
        return "No run over a partitioned asset has ended since."
    more = f"; {len(pending)} more with the next tick" if pending else ""
    return f"Judged the checks of {', '.join(judged)}{more}."
