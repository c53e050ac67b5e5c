"""The job that mails reports, and whatever else is due in the outbox, and the sensor that starts it."""

from dataclasses import dataclass
from datetime import timedelta

from dagster import (
    DagsterInstance,
    DefaultSensorStatus,
    Definitions,
    Failure,
    JobDefinition,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    job,
    op,
    sensor,
)

from analytics_pipeline.asset_names import COMPANY_REPORTS, MONTHLY_REPORT
from analytics_pipeline.database import connect
from analytics_pipeline.health.mail import mailed_documents_current
from analytics_pipeline.messages.delivery import channels_for, send_by_settings
from analytics_pipeline.messages.sending import SendReport, count_due, count_waiting
from analytics_pipeline.orchestration import shared
from analytics_pipeline.orchestration.check_results import check_evaluation
from analytics_pipeline.orchestration.metadata import MetadataMap
from analytics_pipeline.orchestration.reports.report_gate import describe_held, judge_documents
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs.dagster_storage import open_instance
from analytics_pipeline.orchestration.runs.executor import owning_executor
from analytics_pipeline.orchestration.sensors import LatestRun
from analytics_pipeline.reports.mail import count_missing, documents_due, enqueue_wanted, wanted_documents
from analytics_pipeline.settings import Settings
from analytics_pipeline.text import capitalised
from analytics_pipeline.timescale.connection import Connection

MAIL_JOB = "report_mail"
# A pool of its own: a mail server that takes its time must not keep partitions from being closed.
POOL = "mail"
# What is left when it is over goes with the next run.
_WITHIN = timedelta(minutes=10)
_MAX_SHOWN = 10

_INTERVAL_SECONDS = 60
# One that has not ended by then is dead or stuck; another can't send what it has taken.
_LONGEST_RUN = timedelta(minutes=30)
_MAX_SHOWN_IN_TICK = 3
_MADE_AGAIN_AFTER = timedelta(minutes=10)


def defs(_: Settings) -> Definitions:
    """Return the job and the sensor ``report_mail``."""
    return Definitions(jobs=[_build_job()], sensors=[_build_sensor()])


@dataclass(frozen=True, slots=True)
class MailRound:
    """What one round came to: new rows, what is held back and why, and how sending went."""

    added: int
    held: list[str]
    report: SendReport

    def __str__(self) -> str:
        """Say it for people."""
        return "; ".join([f"{self.added} enqueued, {self.report}", *self.held])


def mail_reports(instance: DagsterInstance, connection: Connection, settings: Settings) -> MailRound:
    """Make the reports that are due before their month is closed for all companies, judge those that somebody waits
    for, put in the mails of those that may go, and send what is due.
    """
    problems = _make_due(connection, settings)
    verdicts = judge_documents(instance, connection, settings, wanted_documents(connection))
    added = enqueue_wanted(connection, settings)
    report = send_by_settings(connection, settings, within=_WITHIN)
    return MailRound(added, [*problems, *describe_held(verdicts, _MAX_SHOWN)], report)


def _make_due(connection: Connection, settings: Settings) -> list[str]:
    if not documents_due(connection, settings):
        return []
    # Rendering takes a second to import: only a process that renders pays for it.
    from analytics_pipeline.reports.monthly import publish_due

    return publish_due(connection, settings)


def mail_with_instance(settings: Settings) -> MailRound:
    """Do one round on the instance of ``DAGSTER_HOME``, without a run."""
    with open_instance(settings) as instance, connect(settings, autocommit=True) as connection:
        return mail_reports(instance, connection, settings)


def _build_job() -> JobDefinition:
    """Return the job ``report_mail``."""

    @op(
        name="send_mails",
        description="Sends reports whose data are judged well to their recipients, each once, and what else is due.",
        pool=POOL,
        retry_policy=shared.RETRY,
        out=Out(Nothing),
    )
    def _send_mails(context: OpExecutionContext, timescale: Timescale) -> Output[None]:
        with timescale.session() as connection:
            done = mail_reports(context.instance, connection, timescale.settings)
            if done.report.sent:
                _judge_mailed(context.instance, connection, timescale.settings)
        metadata = _metadata(done)
        if done.report.needs_a_person:
            raise Failure(
                description=f"{done.report}. See 'analytics-pipeline outbox list --state failed'.",
                metadata=metadata,
                allow_retries=False,
            )
        context.log.info(str(done))
        return Output(None, metadata=metadata)

    @job(
        name=MAIL_JOB,
        executor_def=owning_executor,
        description="Sends reports of closed months to their recipients, and whatever else is due in the outbox.",
    )
    def _report_mail() -> None:
        _send_mails()

    return _report_mail


def _judge_mailed(instance: DagsterInstance, connection: Connection, settings: Settings) -> None:
    """Show at once that the documents that were mailed are the current ones, or which are not."""
    for asset in (MONTHLY_REPORT, COMPANY_REPORTS):
        instance.report_runless_asset_event(
            check_evaluation(mailed_documents_current(connection, settings, asset), settings)
        )


def _metadata(done: MailRound) -> MetadataMap:
    report = done.report
    metadata: MetadataMap = {
        "enqueued": done.added,
        "sent": report.sent,
        "to be tried again": report.again,
        "failed": report.failed,
        "possibly delivered": report.unknown,
        **{f"waiting for {setting}": number for setting, number in report.waiting.items()},
    }
    if report.problems:
        metadata["problems"] = "; ".join(report.problems)
    if done.held:
        metadata["held back"] = "; ".join(done.held)
    return metadata


def _build_sensor() -> SensorDefinition:
    """Return the sensor ``report_mail``, switched on."""

    @sensor(
        name=MAIL_JOB,
        job_name=MAIL_JOB,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            "Sends the reports of closed months whose data are judged well, for 45 days after a month has ended, in "
            "the morning where their company is (a document that is not there by then is made), "
            "corrections to those who asked for them, and alerts; tries again what could not be sent. Messages of a "
            "channel whose setting is missing, such as ANALYTICS_SMTP_URL, wait."
        ),
    )
    def _report_mail(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        settings = timescale.settings
        channels = channels_for(settings)
        with timescale.session() as connection:
            wanted = wanted_documents(connection)
            verdicts = judge_documents(context.instance, connection, settings, wanted)
            due = count_due(connection, channels) + count_missing(connection)
            is_to_make = bool(documents_due(connection, settings))
            waiting = count_waiting(connection, channels)
        latest = LatestRun.of(context.instance, MAIL_JOB)
        # A document that can't be made is no reason for a run each minute.
        if due or (is_to_make and (latest.age is None or latest.age > _MADE_AGAIN_AFTER)):
            if latest.is_unfinished(within=_LONGEST_RUN):
                return SensorResult(skip_reason=SkipReason("A run is sending."))
            return SensorResult(run_requests=[latest.request_next(MAIL_JOB)])
        notes = describe_held(verdicts, _MAX_SHOWN_IN_TICK)
        notes += [f"{number} messages wait: {setting} is not set" for setting, number in waiting.items()]
        state = "; ".join(notes) or "nothing is due"
        return SensorResult(skip_reason=SkipReason(f"{capitalised(state)}."))

    return _report_mail
