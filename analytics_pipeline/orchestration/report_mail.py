"""The job that mails reports, and whatever else is due in the outbox.

Belongs here: its order: judge, put in, send, tell. Does not belong here: when it runs (``sensors.mail``).
"""

from dataclasses import dataclass
from datetime import timedelta

from dagster import (
    DagsterInstance,
    Failure,
    JobDefinition,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    job,
    op,
)

from analytics_pipeline.health.mail import mailed_documents_current
from analytics_pipeline.orchestration import names
from analytics_pipeline.orchestration.checks.results import check_evaluation
from analytics_pipeline.orchestration.metadata import MetadataMap
from analytics_pipeline.orchestration.report_gate import describe_held, judge_documents
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.storage import open_instance
from analytics_pipeline.outbox.channels import send_by_settings
from analytics_pipeline.outbox.sending import SendReport
from analytics_pipeline.reports.documents import COMPANY_REPORTS, MONTHLY_REPORT
from analytics_pipeline.reports.mail import enqueue_wanted, wanted_documents
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection, connect

MAIL_JOB = "report_mail"
# A pool of its own: a mail server that takes its time must not keep partitions from being closed.
POOL = "mail"
# What is left when it is over goes with the next run.
_WITHIN = timedelta(minutes=10)
_MOST_TOLD = 10


@dataclass(frozen=True, slots=True)
class MailRound:
    """What one round came to: new rows, what is held back and why, and how sending went."""

    added: int
    held: list[str]
    report: SendReport

    def __str__(self) -> str:
        """Say it for people."""
        return "; ".join([f"{self.added} put into the outbox, {self.report}", *self.held])


def mail_reports(instance: DagsterInstance, connection: Connection, settings: Settings) -> MailRound:
    """Judge the months somebody waits for, put in the mails of those that may go, and send what is due."""
    verdicts = judge_documents(instance, connection, settings, wanted_documents(connection))
    added = enqueue_wanted(connection, settings)
    report = send_by_settings(connection, settings, within=_WITHIN)
    return MailRound(added, describe_held(verdicts, _MOST_TOLD), report)


def mail_with_instance(settings: Settings) -> MailRound:
    """Do one round on the instance of ``DAGSTER_HOME``, without a run."""
    with open_instance(settings) as instance, connect(settings, autocommit=True) as connection:
        return mail_reports(instance, connection, settings)


def build_mail_job() -> JobDefinition:
    """Return the job ``report_mail``."""

    @op(
        name="send_mails",
        description="Mails reports whose data are judged well to their recipients, each once, and sends what is due.",
        pool=POOL,
        retry_policy=names.RETRY,
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
                description=f"{done.report}. See 'analytics-pipeline outbox list'; then 'outbox retry' or 'discard'.",
                metadata=metadata,
                allow_retries=False,
            )
        context.log.info(str(done))
        return Output(None, metadata=metadata)

    @job(
        name=MAIL_JOB,
        description="Mails reports of closed months to their recipients and sends what is due in the outbox.",
    )
    def _report_mail() -> None:
        _send_mails()

    return _report_mail


def _judge_mailed(instance: DagsterInstance, connection: Connection, settings: Settings) -> None:
    """Show at once that the documents that were mailed are the current ones, or which are not."""
    for asset in (MONTHLY_REPORT, COMPANY_REPORTS):
        instance.report_runless_asset_event(check_evaluation(mailed_documents_current(connection, settings, asset)))


def _metadata(done: MailRound) -> MetadataMap:
    report = done.report
    metadata: MetadataMap = {
        "put into the outbox": done.added,
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
