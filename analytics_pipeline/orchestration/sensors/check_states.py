"""Judges what speaks of an asset as a whole, once a run over it has ended: no run has to, and none is launched for it.

Inside a run ``no_failed_partitions`` would not know yet how the run ends, and a range would leave a row of Dagster's
storage for each partition and check. So this sensor follows the ends of runs in the event log and reports the checks of
their assets. The proofs of the newest closed periods take too long for a tick: the job ``checks`` runs them each day,
and is asked for those that have failed, since a run may have remedied what they found.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetKey,
    DagsterInstance,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from analytics_pipeline.health.checks import HealthCheck, all_checks, run_check, window_checks
from analytics_pipeline.orchestration.checks.failed_partitions import judge_failed_partitions, partitioned_assets
from analytics_pipeline.orchestration.checks.results import check_evaluation
from analytics_pipeline.orchestration.checks.schedule import CHECKS_JOB
from analytics_pipeline.orchestration.covering_runs import covered_by
from analytics_pipeline.orchestration.partition_state import PartitionState
from analytics_pipeline.orchestration.records import ended_runs
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection

_NAME = "check_states"
_INTERVAL_SECONDS = 30
# A tick begins no asset after that; the others are judged by the next one.
_MAX_SECONDS = 8.0
# All assets are judged so often, whatever has ended: somebody may have deleted runs.
_ALL_EVERY = timedelta(days=1)
_NEVER = datetime.min.replace(tzinfo=UTC)


def build_check_states_sensor(settings: Settings) -> SensorDefinition:
    """Return the sensor ``check_states``, switched on."""
    by_asset = _quick_checks()

    @sensor(
        name=_NAME,
        job_name=CHECKS_JOB,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            "Judges no_failed_partitions and the other quick checks of an asset within a minute after a run over it "
            "has ended, and asks for a run of its proofs if one of them has failed before."
        ),
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
        failed = sorted(_failed_proofs(context.instance, judged))
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
    yield check_evaluation(judge_failed_partitions(state, asset))
    for check in checks:
        yield check_evaluation(run_check(check, connection, settings))


def _failed_proofs(instance: DagsterInstance, assets: list[str]) -> Iterator[AssetCheckKey]:
    """Yield the proofs of the assets that failed when they were last judged."""
    keys = [AssetCheckKey(AssetKey(check.subject), check.name) for check in window_checks() if check.subject in assets]
    if not keys:
        return
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    for key, record in latest.items():
        if record.status is AssetCheckExecutionRecordStatus.FAILED:
            yield key


def _describe(judged: list[str], pending: list[str]) -> str:
    if not judged:
        return "No run over a partitioned asset has ended since."
    more = f"; {len(pending)} more with the next tick" if pending else ""
    return f"Judged the checks of {', '.join(judged)}{more}."
