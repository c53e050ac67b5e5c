"""Reports are mailed by themselves: only of closed months whose checks passed, to each recipient once."""

import json
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetKey,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    Definitions,
    ExecuteInProcessResult,
    RunsFilter,
)
from dagster._serdes import serialize_value

from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.messages.decisions import list_messages
from analytics_pipeline.messages.mailed import outdated_mails
from analytics_pipeline.messages.recipients import add_recipient
from analytics_pipeline.metrics.partitions import begin_attempt
from analytics_pipeline.orchestration import messages
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, REPORT_JOB
from analytics_pipeline.orchestration.closing.plan import Obstacle, open_sources
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.messages import MAIL_JOB
from analytics_pipeline.orchestration.reports import report_gate
from analytics_pipeline.orchestration.runs import tags
from analytics_pipeline.reports.resend import resend_one
from analytics_pipeline.settings import get_settings
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.messages.sample_messages import put
from analytics_pipeline_tests.messages.token_server import token_server
from analytics_pipeline_tests.metrics.closing import close_inputs
from analytics_pipeline_tests.orchestration.sensor_ticks import Ticks

pytestmark = pytest.mark.slow

REPORT = "monthly_report"
MONTHLY = "analytics_revenue_monthly"
THIS_MONTH = datetime.now(UTC).date().replace(day=1)
MONTH = Window.of_month(THIS_MONTH - timedelta(days=1))
KEY = f"{MONTH.start:%Y-%m-%d}"


@pytest.fixture
def spool(dagster_home: Path, environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder in place of a mail server; partitions begin with the month that has just ended."""
    folder = tmp_path / "spool"
    environment.setenv("ANALYTICS_SMTP_URL", folder.as_uri())
    environment.setenv("ANALYTICS_START", KEY)
    get_settings.cache_clear()
    return folder


@pytest.fixture
def events(spool: Path, database: Database) -> Definitions:
    """A month with one event and one recipient of its report, closed in the database, and as yet not in Dagster."""
    with database.connect(autocommit=True) as connection:
        add_event(connection, f"{MONTH.start:%Y-%m}-05T12:00", value="100")
        close_inputs(connection, MONTH)
        add_recipient(connection, None, REPORT, "board@example.com")
    return build_definitions(get_settings())


@pytest.fixture
def month(events: Definitions, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Definitions:
    """The same with its monthly partitions closed; its days and hours, which take long, count as closed."""
    _close_monthly(events, instance)
    _count_days_as_closed(monkeypatch)
    return events


def _count_days_as_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_days(state: PartitionState, job: str, window: Window) -> list[Obstacle]:
        return open_sources(state, job, window) if job == REPORT_JOB else []

    monkeypatch.setattr(report_gate, "open_sources", without_days)


def _close_monthly(definitions: Definitions, instance: DagsterInstance) -> None:
    for job, granularity in CLOSING_JOBS.items():
        if granularity is Granularity.MONTH:
            assert _run(definitions, instance, job, partition_key=KEY).success


def _fail_check(instance: DagsterInstance) -> None:
    """Let a check have failed in the run that closed the month, which covered days of another month as well."""
    run = instance.get_runs(RunsFilter(job_name="monthly_aggregates"))[0]
    evaluation = AssetCheckEvaluation(
        asset_key=AssetKey("revenue_metrics_monthly"), check_name="amounts_converted", passed=False, metadata={}
    )
    event = DagsterEvent(DagsterEventType.ASSET_CHECK_EVALUATION.value, run.job_name, event_specific_data=evaluation)
    instance.report_dagster_event(event, run.run_id)


def _mails(spool: Path) -> list[Message]:
    return [message_from_bytes(path.read_bytes()) for path in sorted(spool.glob("*.eml"))]


def _run(definitions: Definitions, instance: DagsterInstance, job: str, **options: object) -> ExecuteInProcessResult:
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **options)  # type: ignore[arg-type]


def _launch(ticks: Ticks) -> None:
    (request,) = ticks.tick()
    assert ticks.launch(request).success


def _part(mail: Message, content_type: str) -> bytes:
    (part,) = [part for part in mail.walk() if part.get_content_type() == content_type]
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


def test_a_report_is_mailed_once_its_month_is_closed_and_proved_and_never_again(
    events: Definitions,
    database: Database,
    instance: DagsterInstance,
    spool: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = Ticks(events, instance, MAIL_JOB)
    _close_monthly(events, instance)
    assert ticks.tick() == []
    assert "of the partitions it is made from are not closed, from " in (ticks.skipped or "")
    _count_days_as_closed(monkeypatch)
    _fail_check(instance)
    assert len(ticks.tick()) == 1, "the days of the month say themselves how they are"
    differing = "UPDATE analytics_user_metrics SET new_users = new_users + %s WHERE granularity = 'month'"
    with database.connect(autocommit=True) as connection:
        connection.execute(differing, [1])
        assert ticks.tick() == []
        held = f"The report for all companies of {KEY[:7]} is held back: Not reconciled: New users"
        assert held in (ticks.skipped or "")
        assert _run(events, instance, MAIL_JOB).success, "started by hand it mails nothing either"
        assert _mails(spool) == []
        connection.execute(differing, [-1])
        assert ticks.tick() == [], "what its data hold back is judged again after a while"
        assert held in (ticks.skipped or "")
        connection.execute("UPDATE analytics_report_documents SET judged_at = judged_at - interval '10 minutes'")
    _launch(ticks)
    (mail,) = _mails(spool)
    assert mail["To"] == "board@example.com"
    assert "All companies" in str(mail["Subject"])
    stored = next(iter(Path(get_settings().artifacts_root).rglob("all-companies.pdf"))).read_bytes()
    assert _part(mail, "application/pdf") == stored
    assert b"100.00" in _part(mail, "text/plain")
    assert ticks.tick() == []
    assert ticks.skipped == "Nothing is due."
    again = _run(events, instance, REPORT_JOB, partition_key=KEY)
    assert ticks.tick() == []
    assert len(_mails(spool)) == 1
    with database.connect(autocommit=True) as connection:
        documents = connection.execute(
            "SELECT figures -> 0 ->> 'value', run_id FROM analytics_report_documents WHERE company_id IS NULL"
        ).fetchall()
        assert documents == [("100.00", again.run_id)]
        add_recipient(connection, None, REPORT, "cfo@example.com")
    _launch(ticks)
    assert sorted(str(mail["To"]) for mail in _mails(spool)) == ["board@example.com", "cfo@example.com"]


def test_nothing_is_mailed_from_a_month_whose_run_failed_or_is_under_way(
    month: Definitions, database: Database, instance: DagsterInstance, spool: Path
) -> None:
    ticks = Ticks(month, instance, MAIL_JOB)
    (request,) = ticks.tick()
    assert ticks.tick() == [request], "as long as nothing has run it is the same request"
    running = instance.add_run(
        DagsterRun(job_name="monthly_aggregates", status=DagsterRunStatus.STARTED, tags={tags.PARTITION: KEY})
    )
    assert ticks.tick() == []
    assert "of the month is under way" in (ticks.skipped or "")
    with database.connect(autocommit=True) as connection:
        begin_attempt(connection, MONTHLY, Granularity.MONTH, MONTH, running.run_id)
    instance.report_run_canceled(running)
    assert ticks.tick() == [], "a cancelled run leaves its partitions open"
    held = f"The report for all companies of {KEY[:7]} is held back: {MONTHLY} of the month is not closed"
    assert held in (ticks.skipped or "")
    assert ticks.launch(request).success, "asked for before the month was opened"
    assert _mails(spool) == []
    assert _run(month, instance, "monthly_aggregates", partition_key=KEY).success
    _launch(ticks)
    assert len(_mails(spool)) == 1


def test_a_document_made_anew_is_judged_though_everybody_had_the_one_before_and_can_be_sent_as_a_correction(
    month: Definitions, database: Database, instance: DagsterInstance, spool: Path
) -> None:
    ticks = Ticks(month, instance, MAIL_JOB)
    judged = Ticks(month, instance, "check_states")
    _launch(ticks)
    judged.tick()
    with database.connect(autocommit=True) as connection:
        add_event(connection, f"{MONTH.start:%Y-%m}-06T12:00", value="10")
        close_inputs(connection, MONTH)
        _close_monthly(month, instance)
        judged.tick()
        running = instance.add_run(
            DagsterRun(job_name=REPORT_JOB, status=DagsterRunStatus.STARTED, tags={tags.PARTITION: KEY})
        )
        assert ticks.tick() == []
        assert "of the month is under way" in (ticks.skipped or "")
        instance.delete_run(running.run_id)
        assert ticks.tick() == [], "nobody is mailed by itself"
        assert ticks.skipped == "Nothing is due."
        assert [mail.relation for mail in outdated_mails(connection)] == ["corrected"]
        assert resend_one(connection, get_settings(), REPORT, None, KEY[:7]).added == 1
    _launch(ticks)
    assert sorted(str(mail["Subject"]).partition(" ")[0] for mail in _mails(spool)) == ["Corrected:", "Monthly"]
    key = AssetCheckKey(AssetKey(REPORT), "mailed_documents_current")
    shown = [record.evaluation for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=2)]
    assert [found.passed for found in shown if found] == [True, False], "red when made anew, green when it was sent"
    assert ticks.tick() == []
    assert ticks.skipped == "Nothing is due."


def test_mails_wait_for_a_server_and_one_that_fails_permanently_fails_the_run_which_operators_are_notified_of(
    month: Definitions,
    instance: DagsterInstance,
    spool: Path,
    environment: pytest.MonkeyPatch,
) -> None:
    environment.delenv("ANALYTICS_SMTP_URL")
    get_settings.cache_clear()
    ticks = Ticks(month, instance, MAIL_JOB)
    _launch(ticks)
    assert ticks.tick() == []
    assert ticks.skipped == "1 messages wait: ANALYTICS_SMTP_URL is not set."
    environment.setenv("ANALYTICS_SMTP_URL", spool.as_uri())
    get_settings.cache_clear()
    started = instance.add_run(DagsterRun(job_name=MAIL_JOB, status=DagsterRunStatus.STARTED))
    assert ticks.tick() == []
    assert ticks.skipped == "A run is sending."
    environment.setattr(messages, "_LONGEST_RUN", timedelta(0))
    (request,) = ticks.tick()
    assert started.run_id in (request.run_key or ""), "a dead run is no obstacle"
    for document in Path(get_settings().artifacts_root).rglob("*.pdf"):
        document.unlink()
    result = ticks.launch(request)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    stated = failure.step_failure_data.user_failure_data
    assert stated is not None
    assert "1 failed" in (stated.description or "")
    assert "outbox list --state failed" in (stated.description or "")
    assert result.job_def.get_node_named("send_mails").definition.pools == {"mail"}
    assert ticks.tick() == []
    assert ticks.skipped == "Nothing is due."


def test_no_secret_of_a_mailbox_gets_into_the_event_log(
    events: Definitions, instance: DagsterInstance, database: Database, environment: pytest.MonkeyPatch
) -> None:
    secrets = {"client_secret": "s3cret-client", "refresh_token": "s3cret-refresh"}
    with token_server() as tokens:
        tokens.refusal = {"error": "invalid_grant", "error_description": f"not {' or '.join(secrets.values())}"}
        oauth = {"type": "authorized_user", "client_id": "app", **secrets, "token_uri": f"{tokens.url}/token"}
        environment.setenv("ANALYTICS_SMTP_URL", "smtp://reports%40example.com@localhost:1?starttls")
        environment.setenv("ANALYTICS_SMTP_OAUTH", json.dumps(oauth))
        get_settings.cache_clear()
        with database.connect(autocommit=True) as connection:
            put(connection, to="a@example.com")
            run = _run(build_definitions(get_settings()), instance, MAIL_JOB)
            (message,) = list_messages(connection)
    logged = "\n".join(serialize_value(entry) for entry in instance.all_logs(run.run_id))
    assert "invalid_grant: not ... or ..." in logged
    assert "invalid_grant: not ... or ..." in str(message.problem)
    assert "s3cret" not in logged + str(message.problem)


def test_nobody_to_mail_to_is_nothing_to_do(
    spool: Path, database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    ticks = Ticks(definitions, instance, MAIL_JOB)
    assert ticks.tick() == []
    assert ticks.skipped == "Nothing is due."
    assert date.fromisoformat(KEY).day == 1
