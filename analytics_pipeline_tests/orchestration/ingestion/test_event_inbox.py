"""Files dropped into the inbox become runs, one each, whatever dies on the way."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, Definitions, ExecuteInProcessResult

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration.ingestion import event_inbox as inbox_sensor
from analytics_pipeline.orchestration.ingestion.event_inbox import INGESTION_JOB
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment
from analytics_pipeline_tests.orchestration.sensor_ticks import Ticks

pytestmark = pytest.mark.slow

_KILLED_FILE_EVENTS = 60_000
_PATIENCE_SECONDS = 60


@pytest.fixture
def folder(dagster_home: Path) -> Path:
    """The default inbox."""
    folder = get_settings().home / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def ticks(definitions: Definitions, instance: DagsterInstance) -> Ticks:
    return Ticks(definitions, instance, "event_inbox")


def _drop(folder: Path, name: str, *events: dict[str, Any], minutes_ago: int = 5) -> Path:
    path = folder / name
    path.write_text(json_lines(events or [payment()]))
    moment = time.time() - minutes_ago * 60
    os.utime(path, (moment, moment))
    return path


def _pass_time(ticks: Ticks) -> None:
    """Let a minute pass for what the sensor has seen."""
    assert ticks.cursor is not None
    ticks.cursor = json.dumps({file: since - 60 for file, since in json.loads(ticks.cursor).items()})


def _settle(ticks: Ticks) -> list[Any]:
    assert ticks.tick() == []
    _pass_time(ticks)
    return ticks.tick()


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _count(database: Database) -> int:
    with database.connect() as connection:
        row = connection.execute("SELECT count(*) FROM analytics_events").fetchone()
    assert row is not None
    return int(row[0])


def _metadata(result: ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = [e for e in result.all_events if e.is_asset_observation]
    observation = event.asset_observation_data.asset_observation
    assert observation.asset_key == AssetKey("analytics_events")
    return {name: value.value for name, value in observation.metadata.items()}


def test_an_empty_inbox_is_made_and_said_to_be_empty(ticks: Ticks, database: Database) -> None:
    assert ticks.tick() == []
    inbox = get_settings().home / "inbox"
    assert inbox.is_dir()
    assert ticks.skipped == f"The inbox {inbox} is empty."


def test_files_behind_the_oldest_are_named(
    ticks: Ticks, folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_sensor, "_MAX_FILES_EXAMINED", 2)
    for name in ("a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"):
        _drop(folder, name, payment())
    assert ticks.tick() == []
    assert ticks.skipped is not None
    assert "not examined before some of the 200 older ones are filed away: c.jsonl, d.jsonl" in ticks.skipped


def test_a_dropped_file_becomes_one_run_and_is_filed_away(
    ticks: Ticks, folder: Path, database: Database, instance: DagsterInstance
) -> None:
    _drop(folder, "a.jsonl", payment(), payment(timestamp="2025-01-01T00:00:00Z"), payment(value="much"))
    assert ticks.tick() == []
    assert ticks.skipped is not None
    assert "still arriving (taken once unchanged for 10 s): a.jsonl" in ticks.skipped
    assert ticks.tick() == [], "not for long enough"
    _pass_time(ticks)
    (request,) = ticks.tick()
    result = ticks.launch(request)
    assert result.success
    assert _files(folder) == ["done/a.jsonl", "done/a.jsonl.rejects.jsonl"]
    assert _count(database) == 2
    metadata = _metadata(result)
    assert {name: metadata[name] for name in ("file", "outcome", "records read", "new events", "rejected")} == {
        "file": "a.jsonl",
        "outcome": "done",
        "records read": 3,
        "new events": 2,
        "rejected": 1,
    }
    assert metadata["location"] == str(folder / "done" / "a.jsonl")
    assert metadata["rejects"] == str(folder / "done" / "a.jsonl.rejects.jsonl")
    assert (
        metadata["last event"] - metadata["first event"]
        == timedelta(days=30, hours=23, minutes=59, seconds=59).total_seconds()
    )
    assert metadata["rows per second"] >= 0
    assert _settle(ticks) == []
    assert instance.get_runs_count() == 1
    op = result.job_def.get_node_named("ingest_file").definition
    assert op.pools == {"timescaledb"}


def test_a_file_dropped_again_runs_again_and_its_copy_does_no_harm(
    ticks: Ticks, folder: Path, database: Database
) -> None:
    event = payment()
    for name, age in (("a.jsonl", 5), ("copy of a.jsonl", 5), ("a.jsonl", 4)):
        _drop(folder, name, event, minutes_ago=age)
        (request,) = _settle(ticks)
        assert ticks.launch(request).success
    assert _count(database) == 1
    assert _files(folder) == ["done/a.jsonl", "done/a~2.jsonl", "done/copy of a.jsonl"]


def test_the_very_same_file_moved_back_runs_again_after_a_pause(
    ticks: Ticks, folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _drop(folder, "a.jsonl")
    (request,) = _settle(ticks)
    ticks.launch(request)
    (folder / "done" / "a.jsonl").rename(folder / "a.jsonl")
    assert _settle(ticks) == []
    monkeypatch.setattr(inbox_sensor, "_FIRST_WAIT", timedelta())
    (again,) = ticks.tick()
    assert again.run_key != request.run_key
    assert ticks.launch(again).success
    assert _files(folder) == ["done/a.jsonl"]


def test_a_file_that_gives_nothing_fails_its_run_and_says_why(ticks: Ticks, folder: Path, database: Database) -> None:
    _drop(folder, "bad.parquet")
    (request,) = _settle(ticks)
    result = ticks.launch(request)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    assert "is damaged or not parquet" in (data.description or "")
    assert _files(folder) == ["failed/bad.parquet", "failed/bad.parquet.reason.txt"]


def test_many_files_are_taken_oldest_first_and_a_few_per_tick(
    ticks: Ticks, folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_sensor, "_MAX_RUNS_PER_TICK", 2)
    for number in range(3):
        _drop(folder, f"{number}.jsonl", minutes_ago=100 - number)
    _drop(folder, "notes.txt")
    requests = _settle(ticks)
    assert [request.tags["analytics/file"] for request in requests] == ["0.jsonl", "1.jsonl"]
    for request in requests:
        ticks.launch(request)
    assert [request.tags["analytics/file"] for request in ticks.tick()] == ["2.jsonl"]
    assert ticks.cursor is not None
    assert len(json.loads(ticks.cursor)) == 1
    (folder / "2.jsonl").unlink()
    assert ticks.tick() == []
    assert ticks.skipped is not None
    assert "left alone, because the ending is none of .jsonl, .csv, .parquet: notes.txt" in ticks.skipped


def test_while_the_database_is_down_the_file_stays_and_is_tried_again(
    ticks: Ticks, folder: Path, database: Database, environment: pytest.MonkeyPatch
) -> None:
    _drop(folder, "a.jsonl")
    (request,) = _settle(ticks)
    environment.setenv("ANALYTICS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    assert not ticks.launch(request).success
    assert _files(folder) == ["a.jsonl"]
    environment.setenv("ANALYTICS_DATABASE_URL", database.url)
    get_settings.cache_clear()
    assert ticks.tick() == []
    assert ticks.skipped is not None
    assert "waiting for another attempt" in ticks.skipped
    environment.setattr(inbox_sensor, "_FIRST_WAIT", timedelta())
    (again,) = ticks.tick()
    assert ticks.launch(again).success
    assert _files(folder) == ["done/a.jsonl"]


@pytest.mark.faults
def test_a_run_killed_in_the_middle_is_made_good_by_the_next(
    ticks: Ticks, folder: Path, database: Database, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [payment(event_id=str(uuid.UUID(int=number))) for number in range(_KILLED_FILE_EVENTS)]
    _drop(folder, "big.jsonl", *events)
    (request,) = _settle(ticks)
    config = folder.parent / "run.json"
    config.write_text(json.dumps(request.run_config))
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "analytics_pipeline.definitions"]
    command += ["-j", INGESTION_JOB, "-c", str(config), "--tags", json.dumps(dict(request.tags))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _count(database):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < _count(database) < _KILLED_FILE_EVENTS
    assert _files(folder) == ["big.jsonl"]
    assert ticks.tick() == []
    assert ticks.skipped is not None
    assert "being ingested or queued: big.jsonl" in ticks.skipped
    (run,) = instance.get_runs()
    # As the daemon's run monitoring does when it finds the process gone.
    instance.report_run_failed(run)
    monkeypatch.setattr(inbox_sensor, "_FIRST_WAIT", timedelta())
    (again,) = ticks.tick()
    assert ticks.launch(again).success
    assert _count(database) == _KILLED_FILE_EVENTS
    assert _files(folder) == ["done/big.jsonl"]
    assert {run.status for run in instance.get_runs()} == {DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS}


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session")
def test_a_file_stays_in_the_inbox_while_somebody_else_holds_the_table(
    ticks: Ticks, folder: Path, database: Database, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("ANALYTICS_LOCK_TIMEOUT", "1")
    get_settings.cache_clear()
    _drop(folder, "a.jsonl")
    (request,) = _settle(ticks)
    with database.connect() as other:
        other.execute("LOCK TABLE analytics_events IN SHARE MODE")
        assert not ticks.launch(request).success
    assert _files(folder) == ["a.jsonl"]
    assert ticks.launch(request).success
    assert _files(folder) == ["done/a.jsonl"]


def test_an_inbox_in_an_object_store(
    definitions: Definitions, instance: DagsterInstance, database: Database, environment: pytest.MonkeyPatch
) -> None:
    from upath import UPath

    root = UPath(f"memory://inbox-{uuid.uuid4().hex}")
    root.mkdir(parents=True)
    environment.setenv("ANALYTICS_INBOX", str(root))
    get_settings.cache_clear()
    (root / "a.jsonl").write_text(json_lines([payment()]))
    environment.setattr("analytics_pipeline.events.inbox.SETTLED_AFTER", timedelta())
    ticks = Ticks(definitions, instance, "event_inbox")
    (request,) = ticks.tick()
    result = ticks.launch(request)
    assert result.success
    assert (root / "done" / "a.jsonl").exists()
    assert not (root / "a.jsonl").exists()
    assert _metadata(result)["location"] == f"{str(root).rstrip('/')}/done/a.jsonl"


def test_the_inbox_replaces_what_a_file_contradicts_where_the_settings_say_so(
    ticks: Ticks, folder: Path, database: Database, environment: pytest.MonkeyPatch
) -> None:
    stored = payment(value="120.00")
    stated = []
    for name, value, setting in (("a", "120.00", ""), ("b", "12.00", "replace")):
        environment.setenv("ANALYTICS_INBOX_ON_CONFLICT", setting)
        get_settings.cache_clear()
        _drop(folder, f"{name}.jsonl", {**stored, "value": value})
        (request,) = _settle(ticks)
        metadata = _metadata(ticks.launch(request))
        stated.append((metadata["new events"], metadata["replaced"], metadata["conflicts"]))
    assert stated == [(1, 0, 0), (0, 1, 0)]
    environment.setenv("ANALYTICS_INBOX_ON_CONFLICT", "maybe")
    get_settings.cache_clear()
    with pytest.raises(AnalyticsError, match="ANALYTICS_INBOX_ON_CONFLICT"):
        get_settings()
