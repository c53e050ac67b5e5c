"""Starts the job that mails reports when there is something for it to do."""

from datetime import UTC, datetime, timedelta

from dagster import (
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

from analytics_pipeline.orchestration.report_gate import describe_held, judge_documents
from analytics_pipeline.orchestration.report_mail import MAIL_JOB
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.outbox.channels import channels_for
from analytics_pipeline.outbox.sending import count_due, count_waiting
from analytics_pipeline.reports.mail import count_missing, wanted_documents

_INTERVAL_SECONDS = 60
# One that has not ended by then is dead or stuck; another can't send what it has taken.
_LONGEST_RUN = timedelta(minutes=30)
_MOST_TOLD = 3


def build_mail_sensor() -> SensorDefinition:
    """Return the sensor ``report_mail``, switched on."""

    @sensor(
        name=MAIL_JOB,
        job_name=MAIL_JOB,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            "Mails the reports of closed months whose data are judged well, for 45 days after a month has ended, and "
            "corrections to those who asked for them; tries again what could not be sent. Without ANALYTICS_SMTP_URL "
            "the mails wait."
        ),
    )
    def _report_mail(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        settings = timescale.settings
        channels = channels_for(settings)
        with timescale.session() as connection:
            wanted = wanted_documents(connection)
            verdicts = judge_documents(context.instance, connection, settings, wanted)
            due = count_due(connection, channels) + count_missing(connection)
            waiting = count_waiting(connection, channels)
        if due:
            return _run(context.instance)
        notes = describe_held(verdicts, _MOST_TOLD)
        notes += [f"{number} messages wait: {setting} is not set" for setting, number in waiting.items()]
        told = "; ".join(notes) or "nothing is due"
        return SensorResult(skip_reason=SkipReason(f"{told[0].upper()}{told[1:]}."))

    return _report_mail


def _run(instance: DagsterInstance) -> SensorResult:
    """Ask for one run, unless one is at it.

    Dagster never launches a run key twice. So the key names the run before this one: while nothing has run since,
    asking again is harmless, and afterwards it is another key.
    """
    records = instance.get_run_records(RunsFilter(job_name=MAIL_JOB), limit=1)
    if not records:
        return SensorResult(run_requests=[RunRequest(run_key=f"{MAIL_JOB}:first")])
    latest = records[0]
    age = datetime.now(UTC) - latest.create_timestamp
    if not latest.dagster_run.is_finished and age < _LONGEST_RUN:
        return SensorResult(skip_reason=SkipReason("A run is sending."))
    return SensorResult(run_requests=[RunRequest(run_key=f"{MAIL_JOB}:after {latest.dagster_run.run_id}")])
