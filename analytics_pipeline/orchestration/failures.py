"""Notifies operators of runs and policy jobs that fail, once each, and when they work again.

Not Dagster's run-status sensors: one of those goes past a run even when its own code has failed on it (the
database is down, say), and two of them, for failures and successes, know no order between the two. This one
reads both from the instance in the order in which they happened, and its cursor moves only when the database
holds what was read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg
from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DefaultSensorStatus,
    Definitions,
    EventLogRecord,
    RunsFilter,
    RunStatusChangeRecordsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from analytics_pipeline.errors import DatabaseUnreachableError
from analytics_pipeline.messages import incidents
from analytics_pipeline.messages.addresses import Address, operator_targets
from analytics_pipeline.messages.delivery import send_by_settings, send_without_outbox
from analytics_pipeline.messages.incident_text import Incident, compose
from analytics_pipeline.messages.incident_words import (
    DATABASE,
    DATABASE_REMEDY,
    FILE_REMEDY,
    JOB_REMOVED,
    MATERIALISATION,
    NO_REASON_OF_POLICY,
    NO_REASON_OF_RUN,
    PARTITIONS_REMEDY,
    RUN_REMEDY,
    name_run,
    paused_after,
    policy_remedy,
    span,
)
from analytics_pipeline.messages.sending import SendReport
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.orchestration.closing.covering_runs import covered_by
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.ingestion.event_inbox import FILE_TAG
from analytics_pipeline.orchestration.partition_definitions import partition_keys
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs import tags
from analytics_pipeline.orchestration.runs.dead_runs import fail_dead_runs
from analytics_pipeline.orchestration.runs.descriptions import (
    EVENTS_OF_FAILURE,
    describe_failure,
    describe_run,
    is_refused,
)
from analytics_pipeline.orchestration.runs.paged_records import run_events
from analytics_pipeline.settings import Settings
from analytics_pipeline.text import error_summary
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.job_health import JobHealth, read_job_health
from analytics_pipeline.windows import Window

_RUNS = "run"
_POLICIES = "policy"
_RUNS_INTERVAL_SECONDS = 30
_POLICIES_INTERVAL_SECONDS = 60
_MAX_RUNS_PER_TICK = 100
# The first tick ever looks back so far: a failure while everything started is not missed.
_FIRST_LOOK_BACK = timedelta(hours=1)
# Ids are given before events are committed: the newest wait a moment, so that none slips in behind the cursor.
_SETTLED_SECONDS = 5.0
# Dagster ends a tick after a minute; what is left goes with the next one, or with report_mail.
_SEND_WITHIN = timedelta(seconds=15)
_TIMEOUTS = Timeouts(step=10, answer=20)
_ASSET_JOB_PREFIX = "__ASSET_JOB"
_MAX_NAMES = 5

# With the silence that is waited for, and the second probe, a minute in all.
_DEAD_INTERVAL_SECONDS = 15
_MAX_SHOWN = 5


def defs(settings: Settings) -> Definitions:
    """Return the sensors ``run_failures``, ``policy_failures`` and ``dead_runs``."""
    return Definitions(sensors=[_build_runs_sensor(), _build_policies_sensor(), _build_dead_runs_sensor(settings)])


def _build_runs_sensor() -> SensorDefinition:
    @sensor(
        name="run_failures",
        minimum_interval_seconds=_RUNS_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            "Notifies the operators (ANALYTICS_OPERATORS; a log line without any) of every run that failed and is not "
            "retried, once per failure, and when the same partitions are closed or the same job succeeds again."
        ),
    )
    def _run_failures(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        settings = timescale.settings
        # Before the session: an address that is misconfigured is no trouble of the database.
        operators = operator_targets(settings)
        try:
            with timescale.session() as connection:
                cursor = _read_runs(context.instance, connection, settings, context.cursor)
                notified = _notify(connection, settings, operators)
        except (DatabaseUnreachableError, psycopg.OperationalError) as error:
            # policy_failures notifies of the database; what happens meanwhile is read afterwards.
            reason = (
                f"The database can't be reached, so operators are notified when it can: {error_summary(str(error))}"
            )
            return SensorResult(skip_reason=SkipReason(reason), cursor=context.cursor)
        return SensorResult(skip_reason=SkipReason(notified), cursor=cursor)

    return _run_failures


def _build_policies_sensor() -> SensorDefinition:
    @sensor(
        name="policy_failures",
        minimum_interval_seconds=_POLICIES_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            "Notifies the operators of TimescaleDB policy jobs that fail or are paused, and of a database that can't "
            "be reached, once per failure, and when they work again."
        ),
    )
    def _policy_failures(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        settings = timescale.settings
        operators = operator_targets(settings)
        outage = _Outage.load(context.cursor)
        try:
            with timescale.session() as connection:
                _read_policies(connection)
                notified = _notify(connection, settings, operators)
        except (DatabaseUnreachableError, psycopg.OperationalError) as error:
            notified = outage.notice(settings, operators, error_summary(str(error)), datetime.now(UTC))
        else:
            outage.end(settings, operators, datetime.now(UTC))
        return SensorResult(skip_reason=SkipReason(notified), cursor=outage.dump())

    return _policy_failures


def _build_dead_runs_sensor(settings: Settings) -> SensorDefinition:
    @sensor(
        name="dead_runs",
        minimum_interval_seconds=_DEAD_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            "Marks failed, within a minute, every run whose process has ended or gives no sign of life, whether a "
            "command executed it or a worker of the daemon. Its partitions are closed by the other sensors."
        ),
    )
    def _dead_runs(context: SensorEvaluationContext) -> SkipReason:
        found = fail_dead_runs(context.instance, settings)
        for sentence in found:
            context.log.warning(f"Marked failed: {sentence}.")
        if not found:
            return SkipReason("The process of every unfinished run lives.")
        more = f"; and {len(found) - _MAX_SHOWN} more" if len(found) > _MAX_SHOWN else ""
        return SkipReason(f"Marked failed: {'; '.join(found[:_MAX_SHOWN])}{more}.")

    return _dead_runs


def _notify(connection: Connection, settings: Settings, operators: Sequence[Address]) -> str:
    """Put messages about what has failed or recovered into the outbox and send them; say what came of it.

    They are sent here and not by the job ``report_mail`` alone, because runs that can't be started are a failure, too.
    """
    incidents_due = incidents.enqueue_due(connection, operators, settings.locale)
    report = send_by_settings(connection, settings, within=_SEND_WITHIN, kinds=["failure"], timeouts=_TIMEOUTS)
    if not incidents_due and report == SendReport(waiting=report.waiting):
        return "Nothing has failed or recovered that operators don't know of."
    what = f"{incidents_due} {'incident' if incidents_due == 1 else 'incidents'}"
    return f"{what} enqueued for {', '.join(map(str, operators))}; {report}."


def _read_policies(connection: Connection) -> None:
    """Record which policy jobs fail, and which work again."""
    jobs = read_job_health(connection)
    for health in jobs:
        if health.is_failing and health.started_at is not None:
            incidents.record_failure(connection, _policy_failure(health, health.started_at))
        elif health.succeeded and health.started_at is not None:
            incidents.record_recovery(connection, _POLICIES, health.name, health.started_at)
    known = {health.name for health in jobs}
    for failure in incidents.open_failures(connection, _POLICIES):
        if failure.subject not in known:
            now = database_now(connection)
            incidents.record_recovery(connection, _POLICIES, failure.subject, now, JOB_REMOVED)


def _policy_failure(health: JobHealth, started_at: datetime) -> incidents.Failure:
    error = health.error or NO_REASON_OF_POLICY
    return incidents.Failure(
        source=_POLICIES,
        subject=health.name,
        at=started_at,
        since=health.failing_since,
        error=paused_after(health.failures, error) if health.is_paused else error,
        remedy=policy_remedy(health.job_id, is_paused=health.is_paused),
    )


def _read_runs(instance: DagsterInstance, connection: Connection, settings: Settings, cursor: str | None) -> str | None:
    """Record failed runs and recoveries after the cursor, and return the new cursor."""
    changes, reached = _status_changes(instance, cursor)
    history = _History(instance, connection, settings)
    successes: dict[str, datetime] = {}
    for change in changes:
        at = datetime.fromtimestamp(change.timestamp, UTC)
        if change.event_log_entry.dagster_event_type is DagsterEventType.RUN_SUCCESS:
            successes[change.run_id] = at
            continue
        run = instance.get_run_by_id(change.run_id)
        # Dagster starts a crashed run again by itself: only the last attempt is a failure.
        if run is None or run.tags.get(tags.WILL_RETRY) == "true":
            continue
        events = list(run_events(instance, run.run_id, EVENTS_OF_FAILURE))
        # What is refused has changed nothing, and whoever asked for it reads why.
        if not is_refused(events):
            incidents.record_failure(connection, _run_failure(settings, run, at, events))
    if successes:
        _record_recoveries(connection, history, successes)
    return reached


def _status_changes(instance: DagsterInstance, cursor: str | None) -> tuple[list[EventLogRecord], str | None]:
    """Return failures and successes after the cursor, oldest first, and how far that has read."""
    now = datetime.now(UTC)
    found: list[EventLogRecord] = []
    complete_until: list[int] = []
    for event_type in (DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS):
        records = instance.fetch_run_status_changes(
            RunStatusChangeRecordsFilter(
                event_type,
                after_storage_id=int(cursor) if cursor else None,
                after_timestamp=None if cursor else (now - _FIRST_LOOK_BACK).timestamp(),
                before_timestamp=now.timestamp() - _SETTLED_SECONDS,
            ),
            limit=_MAX_RUNS_PER_TICK,
            ascending=True,
        ).records
        found += records
        if len(records) == _MAX_RUNS_PER_TICK:
            complete_until.append(records[-1].storage_id)
    if complete_until:
        found = [record for record in found if record.storage_id <= min(complete_until)]
    found.sort(key=lambda record: record.storage_id)
    return found, str(found[-1].storage_id) if found else cursor


class _History:
    """The state of partitions, read when it is first asked for."""

    def __init__(self, instance: DagsterInstance, connection: Connection, settings: Settings) -> None:
        self.instance = instance
        self._connection = connection
        self._settings = settings
        self._state: PartitionState | None = None

    @property
    def state(self) -> PartitionState:
        if self._state is None:
            now = database_now(self._connection)
            self._state = PartitionState(self.instance, self._connection, self._settings, now)
        return self._state


def _run_failure(settings: Settings, run: DagsterRun, at: datetime, events: list[DagsterEvent]) -> incidents.Failure:
    assets, window = covered_by(run, settings) or (None, None)
    keys = partition_keys(run.tags)
    partitions = None if keys is None else keys[0] if keys[0] == keys[1] else span(*keys)
    return incidents.Failure(
        source=_RUNS,
        subject=name_run(*_job_and_subject(run), partitions or ""),
        at=at,
        error=describe_failure(events) or NO_REASON_OF_RUN,
        remedy=_remedy(run, is_partitioned=partitions is not None),
        partitions=partitions,
        link=describe_run(settings, run.run_id),
        details={
            "job": run.job_name,
            "file": run.tags.get(FILE_TAG),
            "assets": ",".join(sorted(assets)) if assets else None,
            "start": window.start.isoformat() if window else None,
            "end": window.end.isoformat() if window else None,
        },
    )


def _job_and_subject(run: DagsterRun) -> tuple[str, str]:
    """Return the name of a run's job, and the assets or the file that it is about, empty: it says neither."""
    names = sorted(key.to_user_string() for key in run.asset_selection or ())
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    assets = f"{', '.join(names[:_MAX_NAMES])}{more}"
    job = MATERIALISATION if run.job_name.startswith(_ASSET_JOB_PREFIX) else run.job_name
    return job, " of ".join(filter(None, (assets, run.tags.get(FILE_TAG))))


def _remedy(run: DagsterRun, *, is_partitioned: bool) -> str:
    if FILE_TAG in run.tags:
        return FILE_REMEDY
    return PARTITIONS_REMEDY if is_partitioned else RUN_REMEDY


def _record_recoveries(connection: Connection, history: _History, successes: Mapping[str, datetime]) -> None:
    """Close open failures whose partitions are all closed by now, by whichever runs, or whose job has succeeded."""
    still_open = incidents.open_failures(connection, _RUNS)
    if not still_open:
        return
    latest = max(successes.values())
    finished = _jobs_that_succeeded(history.instance, successes)
    for failure in still_open:
        details = failure.details
        names, start, end = details.get("assets"), details.get("start"), details.get("end")
        if names and start and end:
            window = Window(datetime.fromisoformat(start), datetime.fromisoformat(end))
            at = latest if all(history.state.is_closed(name, window) for name in names.split(",")) else None
        else:
            at = finished.get((details.get("job"), details.get("file")))
        if at is not None:
            incidents.record_recovery(connection, _RUNS, failure.subject, at)


def _jobs_that_succeeded(
    instance: DagsterInstance, successes: Mapping[str, datetime]
) -> dict[tuple[str | None, str | None], datetime]:
    """Return when each job, for an ingestion with its file, last succeeded."""
    finished: dict[tuple[str | None, str | None], datetime] = {}
    for record in instance.get_run_records(RunsFilter(run_ids=list(successes))):
        run = record.dagster_run
        key = (run.job_name, run.tags.get(FILE_TAG))
        finished[key] = max(successes[run.run_id], finished.get(key, successes[run.run_id]))
    return finished


@dataclass(slots=True)
class _Outage:
    """An unreachable database, which can hold no message about itself: the sensor sends it, and its cursor remembers.

    Operators are notified at the second tick in a row that finds none, so that a restart is no incident. ``notified``
    are the addresses that have been, and are still to be notified of its end.
    """

    since: datetime | None = None
    error: str = ""
    notified: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, cursor: str | None) -> "_Outage":
        kept = json.loads(cursor) if cursor else {}
        if not kept:
            return cls()
        return cls(datetime.fromisoformat(kept["since"]), kept["error"], kept.get("notified", []))

    def dump(self) -> str:
        if self.since is None:
            return "{}"
        return json.dumps({"since": self.since.isoformat(), "error": self.error, "notified": self.notified})

    def notice(self, settings: Settings, operators: Sequence[Address], error: str, now: datetime) -> str:
        """Note that the database can't be reached, notify whoever has not been if it is time; say it in a sentence."""
        is_first = self.since is None
        self.since, self.error = self.since or now, error
        if not is_first:
            waiting = [address for address in operators if str(address) not in self.notified]
            self.notified += self._send(settings, waiting, now, None)
        return f"The database can't be used: {error}{' Operators know.' if self.notified else ''}"

    def end(self, settings: Settings, operators: Sequence[Address], now: datetime) -> None:
        """Note that the database answers again, and notify the operators who had been notified."""
        if self.since is None:
            return
        waiting = [address for address in operators if str(address) in self.notified]
        reached = self._send(settings, waiting, now, now)
        self.notified = [str(address) for address in waiting if str(address) not in reached]
        if not self.notified:
            self.since = None

    def _send(
        self, settings: Settings, addresses: Sequence[Address], now: datetime, recovered_at: datetime | None
    ) -> list[str]:
        """Return the addresses that the message has been sent to, or may have reached."""
        if not addresses:
            return []
        since = self.since or now
        incident = Incident(
            key=f"database:{since.isoformat()}",
            subject=DATABASE,
            first_at=since,
            last_at=now,
            count=1,
            recovered_at=recovered_at,
            partitions=None,
            error=self.error,
            remedy=DATABASE_REMEDY,
            link=None,
            recovery=None,
            severity="critical",
        )
        content = compose([incident], settings.locale)
        identity = f"database-{since.timestamp():.0f}-{'end' if recovered_at else 'start'}"
        return list(map(str, send_without_outbox(settings, addresses, content, identity, _TIMEOUTS)))
