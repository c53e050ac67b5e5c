"""Operators hear of failing runs and policy jobs once, and when they work again."""

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, Definitions
from dagster._core.test_utils import create_run_for_test

from analytics_pipeline.orchestration import failures
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import fetch_row
from analytics_pipeline.timescale.refresh import materialized_tables
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.messages.mail_catcher import Catcher, mail_server
from analytics_pipeline_tests.orchestration.sensor_ticks import Ticks

pytestmark = pytest.mark.slow

ASSET = "analytics_revenue_hourly"
HOUR = "2025-01-05-10:00"
RANGE = {
    "dagster/asset_partition_range_start": "2025-01-05-09:00",
    "dagster/asset_partition_range_end": "2025-01-05-10:00",
}


@pytest.fixture
def mails(dagster_home: Path, environment: pytest.MonkeyPatch) -> Iterator[Catcher]:
    """A mail server that the settings lead to; what happened just now counts as settled."""
    with mail_server() as catcher:
        environment.setenv("ANALYTICS_SMTP_URL", f"smtp://127.0.0.1:{catcher.port}")
        environment.setenv("ANALYTICS_OPERATORS", "ops@example.com")
        environment.setenv("ANALYTICS_UI_URL", "https://dagster.example.com/")
        get_settings.cache_clear()
        environment.setattr(failures, "_SETTLED_SECONDS", -5.0)
        yield catcher


@pytest.fixture
def runs(definitions: Definitions, instance: DagsterInstance) -> Ticks:
    return Ticks(definitions, instance, "run_failures")


@pytest.fixture
def policies(definitions: Definitions, instance: DagsterInstance) -> Ticks:
    return Ticks(definitions, instance, "policy_failures")


def _subjects(mails: Catcher) -> list[str]:
    return [str(mail["Subject"]).removeprefix("[analytics] ") for mail in mails.mails]


def _text(mails: Catcher, number: int = -1) -> str:
    plain = mails.mails[number].get_body(("plain",))
    assert plain is not None
    return str(plain.get_content()).replace("\r\n", "\n")


def _close(definitions: Definitions, instance: DagsterInstance, partition: str | None = None) -> bool:
    job = definitions.resolve_job_def("hourly_aggregates")
    tags = None if partition else RANGE
    return job.execute_in_process(
        instance=instance,
        partition_key=partition,
        tags=tags,
        asset_selection=[AssetKey(ASSET)],
        raise_on_error=False,
    ).success


def _falsify(database: Database, factor: str) -> None:
    with database.connect(autocommit=True) as connection:
        table = materialized_tables(connection)["analytics_revenue_hourly"].identifier.as_string(connection)
        connection.execute(f"UPDATE {table} SET total_value = total_value * {factor}")


def test_a_failed_range_is_notified_once_and_recovers_when_its_partitions_are_closed(
    mails: Catcher, runs: Ticks, database: Database, definitions: Definitions, instance: DagsterInstance
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
    assert _close(definitions, instance)
    runs.tick()
    assert runs.skipped == "Nothing has failed or recovered that operators don't know of."
    _falsify(database, "2")
    assert not _close(definitions, instance)
    for _ in range(3):
        runs.tick()
    assert not _close(definitions, instance)
    runs.tick()
    assert _subjects(mails) == [
        "failed: hourly_aggregates of analytics_revenue_hourly for 2025-01-05-09:00 to 2025-01-05-10:00"
    ]
    text = _text(mails)
    assert "Partitions: 2025-01-05-09:00 to 2025-01-05-10:00\n" in text
    assert "Failed since: 20" in text
    assert "error: window_reconciles of analytics_revenue_hourly: " in text
    assert "https://dagster.example.com/runs/" in text
    assert "analytics-pipeline close" in text
    _falsify(database, "0.5")
    assert _close(definitions, instance, "2025-01-05-09:00")
    runs.tick()
    assert len(mails.mails) == 1, "one of two hours is closed"
    assert _close(definitions, instance, HOUR)
    runs.tick()
    runs.tick()
    assert _subjects(mails)[1:] == [_subjects(mails)[0].replace("failed", "recovered")]
    assert "2 times" in _text(mails)


def test_a_run_that_dagster_retries_is_not_notified_and_a_crash_is(
    mails: Catcher,
    runs: Ticks,
    database: Database,
    instance: DagsterInstance,
    environment: pytest.MonkeyPatch,
) -> None:
    def crash(tags: dict[str, str], job: str = "hypertable_setup") -> None:
        run = create_run_for_test(instance, job, status=DagsterRunStatus.STARTED, tags=tags)
        instance.report_run_failed(run, "the run's process is gone")

    crash({"dagster/max_retries": "2"})
    runs.tick()
    assert mails.mails == []
    crash({"dagster/max_retries": "0"})
    runs.tick()
    assert _subjects(mails) == ["failed: hypertable_setup"]
    assert "First line of the error: the run's process is gone" in _text(mails)
    environment.setenv("ANALYTICS_LOCALE", "de_DE")
    get_settings.cache_clear()
    crash({"dagster/max_retries": "0"}, "report_mail")
    runs.tick()
    assert _subjects(mails)[1:] == ["fehlgeschlagen: report_mail"]
    assert "Was zu tun ist: beheben Sie die Ursache" in _text(mails)


def test_a_bad_file_is_notified_and_the_fixed_one_recovers_it(
    mails: Catcher, runs: Ticks, database: Database, definitions: Definitions, instance: DagsterInstance
) -> None:
    folder = get_settings().home / "inbox"
    folder.mkdir()
    inbox = Ticks(definitions, instance, "event_inbox")
    definitions_settled = "analytics_pipeline.events.inbox.SETTLED_AFTER"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(definitions_settled, timedelta())
        for name, content in (
            ("a.jsonl", "{}\n"),
            ("b.jsonl", json_lines([payment()])),
            ("a.jsonl", json_lines([payment()])),
        ):
            (folder / name).write_text(content)
            os.utime(folder / name, (time.time() - 60, time.time() - 60))
            (request,) = inbox.tick()
            inbox.launch(request)
            runs.tick()
    assert _subjects(mails) == ["failed: event_ingestion of a.jsonl", "recovered: event_ingestion of a.jsonl"]
    assert "every one of its 1 records was rejected" in _text(mails, 0)
    assert "drop it into the inbox again" in _text(mails, 0)


def test_nothing_is_lost_while_mail_or_the_database_is_down(
    mails: Catcher,
    runs: Ticks,
    database: Database,
    definitions: Definitions,
    instance: DagsterInstance,
    environment: pytest.MonkeyPatch,
) -> None:
    runs.tick()
    environment.setenv("ANALYTICS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    assert not _close(definitions, instance, HOUR)
    runs.tick()
    assert runs.skipped is not None
    assert "The database can't be reached, so operators are notified when it can" in runs.skipped
    environment.setenv("ANALYTICS_DATABASE_URL", database.url)
    get_settings.cache_clear()
    mails.data_answer = "451 try later"
    runs.tick()
    assert runs.skipped is not None
    assert "1 incident enqueued for mail:ops@example.com; 1 to be tried again" in runs.skipped
    assert "451 try later" in runs.skipped
    mails.data_answer = None
    with database.connect(autocommit=True) as connection:
        connection.execute("UPDATE analytics_outbox SET next_attempt_at = now()")
    runs.tick()
    assert _subjects(mails) == [f"failed: hourly_aggregates of {ASSET} for {HOUR}"]


def test_without_a_mail_server_the_log_is_used(
    mails: Catcher,
    runs: Ticks,
    database: Database,
    instance: DagsterInstance,
    environment: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    environment.delenv("ANALYTICS_SMTP_URL")
    get_settings.cache_clear()
    run = create_run_for_test(instance, "hypertable_setup", status=DagsterRunStatus.STARTED)
    instance.report_run_failed(
        run,
        "gone",
    )
    instance.add_run_tags(run.run_id, {"dagster/will_retry": "false"})
    runs.tick()
    lines = [r.getMessage() for r in caplog.records if r.name == "analytics_pipeline.messages"]
    assert len(lines) == 1
    assert lines[0].startswith("[analytics] failed: hypertable_setup: Failed: hypertable_setup")


def test_a_failing_policy_job_is_notified_once_and_when_it_works_again(
    mails: Catcher, policies: Ticks, database: Database
) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("CREATE OR REPLACE PROCEDURE noop(job_id int, config jsonb) LANGUAGE plpgsql AS 'BEGIN END'")
        query = "SELECT add_job('noop', interval '1 hour', initial_start => now() + interval '1 day')"
        job = fetch_row(connection, query)[0]

        def run(minutes_ago: int, error: str | None) -> None:
            connection.execute(
                "INSERT INTO analytics_job_runs (job_id, proc_name, started_at, finished_at, succeeded, error) "
                "VALUES (%(job)s, 'noop', now() - %(ago)s * interval '1 minute', now(), %(error)s::text IS NULL, "
                "%(error)s::text)",
                {"job": job, "ago": minutes_ago, "error": error},
            )

        policies.tick()
        run(30, "no space left on device (53100)\nmore")
        policies.tick()
        run(20, "no space left on device (53100)")
        policies.tick()
        assert _subjects(mails) == [f"failed: noop (job {job})"]
        assert f"CALL run_job({job})" in _text(mails)
        assert "First line of the error: no space left on device (53100)\n" in _text(mails)
        run(10, None)
        policies.tick()
        policies.tick()
        assert _subjects(mails)[1:] == [f"recovered: noop (job {job})"]
        run(5, "again")
        policies.tick()
        connection.execute("SELECT delete_job(%s)", [job])
        policies.tick()
        assert _subjects(mails)[2:] == [f"failed: noop (job {job})", f"recovered: noop (job {job})"]
        assert "the job was removed" in _text(mails)


def test_operators_are_notified_of_an_unreachable_database_without_it(
    mails: Catcher, policies: Ticks, database: Database, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("ANALYTICS_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    environment.setenv("ANALYTICS_OPERATORS", "ops@example.com, boss@example.com")
    get_settings.cache_clear()
    mails.refused["boss@example.com"] = "450 busy"
    policies.tick()
    assert mails.mails == [], "a restart is no incident"
    for _ in range(3):
        policies.tick()
    assert _subjects(mails) == ["failed: the analytics database"]
    assert "secret" not in _text(mails)
    mails.refused.clear()
    policies.tick()
    policies.tick()
    assert [mail["To"] for mail in mails.mails] == ["ops@example.com", "boss@example.com"], "each once"
    environment.setenv("ANALYTICS_DATABASE_URL", database.url)
    get_settings.cache_clear()
    policies.tick()
    policies.tick()
    assert _subjects(mails)[2:] == ["recovered: the analytics database"] * 2
    environment.setenv("ANALYTICS_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    environment.setenv("ANALYTICS_LOCALE", "es_ES")
    get_settings.cache_clear()
    policies.tick()
    policies.tick()
    assert _subjects(mails)[4:] == ["ha fallado: la base de datos de anal\u00edtica"] * 2


def test_failures_long_before_the_first_tick_are_not_notified(
    mails: Catcher, runs: Ticks, database: Database, instance: DagsterInstance, environment: pytest.MonkeyPatch
) -> None:
    environment.setattr(failures, "_FIRST_LOOK_BACK", timedelta(seconds=-5))
    run = create_run_for_test(instance, "hypertable_setup", status=DagsterRunStatus.STARTED)
    instance.report_run_failed(run)
    runs.tick()
    assert mails.mails == []
    assert runs.cursor is None, "the first tick that finds something sets it"
