"""Whether a month's reports may be mailed: only what is closed, with checks that passed.

Belongs here: what Dagster's records say of a partition. Does not belong here: mails (``reports.mail``).

A month may be mailed when its reports, its aggregates and every day and hour below them are closed, no run over
them is under way, no check failed with severity error in the runs that closed it, and every amount of it has a rate. A
newer run of the checks alone overrules those runs: with what passed, and with what proves the figures and failed.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckSeverity,
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    RunsFilter,
)

from analytics_pipeline.alerts.check import CHECK as ALERTS
from analytics_pipeline.health.checks import window_checks
from analytics_pipeline.health.metrics import CONVERTED_CHECK, amounts_converted
from analytics_pipeline.metrics.tables import METRIC_TABLES
from analytics_pipeline.orchestration.checks.failed_partitions import CHECK as NO_FAILED_PARTITIONS
from analytics_pipeline.orchestration.checks.schedule import CHECKS_JOB
from analytics_pipeline.orchestration.closing import open_sources
from analytics_pipeline.orchestration.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.partition_state import PartitionState
from analytics_pipeline.orchestration.partitions import partitions_for
from analytics_pipeline.orchestration.records import run_events
from analytics_pipeline.orchestration.run_links import describe_run
from analytics_pipeline.reports.documents import RecordedDocument, hold
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Cadence, Window

_MONTHLY = [asset for job, cadence in CLOSING_JOBS.items() if cadence is Cadence.MONTH for asset in assets_of(job)]
# They judge other partitions, the mails themselves, or how business goes, and nothing of the month's figures.
_OF_OTHER_MATTERS = {"up_to_date", NO_FAILED_PARTITIONS, "mail_delivered", ALERTS, CONVERTED_CHECK}
_PROOFS = {check.name for check in window_checks()}
_MOST_TOLD = 3


def judge_documents(
    instance: DagsterInstance, connection: Connection, settings: Settings, documents: Iterable[RecordedDocument]
) -> dict[str, str | None]:
    """Judge the months of the documents, hold them back or let them go, and return why each is held (None: it goes).

    The months are in the form of their partitions, ``2025-01``.
    """
    months = {(d.document.report, d.document.period): d.document.period_end for d in documents}
    if not months:
        return {}
    # What is made while they are judged is judged the next time.
    (judged_at,) = fetch_row(connection, "SELECT now()")
    gate = ReportGate(instance, connection, settings)
    verdicts = {}
    for (report, period), end in months.items():
        start = datetime.fromisoformat(f"{period}-01").replace(tzinfo=UTC)
        verdicts[period] = gate.why_held(Window(start, end))
        hold(connection, report, period, verdicts[period], rendered_before=judged_at)
    return verdicts


class ReportGate:
    """Judges months by one reading of the instance."""

    def __init__(self, instance: DagsterInstance, connection: Connection, settings: Settings) -> None:
        """Read what is closed, and the runs that are under way; autocommit connection."""
        self._instance = instance
        self._connection = connection
        self._settings = settings
        self._state = PartitionState(instance, connection, settings, database_now(connection))

    def why_held(self, month: Window) -> str | None:
        """Return why the reports of a month must not be mailed now, None when they may be."""
        for asset in _MONTHLY:
            if not self._state.is_closed(asset, month):
                return f"{asset} of the month is not closed"
            for run in self._state.runs_over(asset, month):
                return f"{describe_run(self._settings, run.run_id)} over {asset} of the month is under way"
        for job in reversed(CLOSING_JOBS):
            if waiting := open_sources(self._state, job, month):
                return (
                    f"{len(waiting)} stretches of the partitions it is made from are not closed, from {waiting[0]} on"
                )
        failed = sorted(
            {
                *(f"{c.check_name} of {c.asset_key.to_user_string()}" for c in self._failed_checks(month)),
                *self._unconverted(month),
            }
        )
        if failed:
            more = f" and {len(failed) - _MOST_TOLD} more" if len(failed) > _MOST_TOLD else ""
            return f"checks failed: {', '.join(failed[:_MOST_TOLD])}{more}"
        return None

    def _failed_checks(self, month: Window) -> list[AssetCheckEvaluation]:
        closing = {asset: self._closing_run(asset, month) for asset in _MONTHLY}
        alone = next(iter(self._instance.get_run_records(RunsFilter(job_name=CHECKS_JOB), limit=1)), None)
        latest: dict[AssetCheckKey, AssetCheckEvaluation] = {}
        for run_id in {run_id for run_id in closing.values() if run_id is not None}:
            assets = {asset for asset, by in closing.items() if by == run_id}
            latest |= {check.asset_check_key: check for check in self._evaluations(run_id, assets)}
            if alone is not None and alone.create_timestamp > self._created(run_id):
                # It looks at other months too: what proves no figures counts there as good news only.
                found = self._evaluations(alone.dagster_run.run_id, assets)
                latest |= {c.asset_check_key: c for c in found if c.passed or c.check_name in _PROOFS}
        return [
            check
            for check in latest.values()
            if not check.passed
            and check.severity is AssetCheckSeverity.ERROR
            and check.check_name not in _OF_OTHER_MATTERS
        ]

    def _unconverted(self, month: Window) -> Iterator[str]:
        """Yield the check on rates for each of the month's metrics that lacks one, judged for the month alone."""
        for table in METRIC_TABLES:
            if table.converts:
                subject = table.asset(Cadence.MONTH)
                found = amounts_converted(self._connection, self._settings, subject, table, Cadence.MONTH, month)
                if not found.passed:
                    yield f"{found.check} of {subject}"

    def _created(self, run_id: str) -> datetime:
        record = self._instance.get_run_record_by_id(run_id)
        return record.create_timestamp if record is not None else datetime.min.replace(tzinfo=UTC)

    def _closing_run(self, asset: str, month: Window) -> str | None:
        """Return the run that materialised the asset's partition last."""
        key = f"{month.start:{partitions_for(Cadence.MONTH, self._settings).fmt}}"
        filters = AssetRecordsFilter(AssetKey(asset), asset_partitions=[key])
        records = self._instance.fetch_materializations(filters, limit=1).records
        return records[0].run_id if records else None

    def _evaluations(self, run_id: str, assets: set[str]) -> Iterator[AssetCheckEvaluation]:
        for event in run_events(self._instance, run_id, {DagsterEventType.ASSET_CHECK_EVALUATION}):
            if event.asset_check_evaluation_data.asset_key.to_user_string() in assets:
                yield event.asset_check_evaluation_data
