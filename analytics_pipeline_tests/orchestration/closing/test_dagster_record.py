"""Which partitions Dagster's own record says are closed, however many runs there are and however old they are."""

from collections.abc import Iterator

import psycopg
import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    Definitions,
    RunsFilter,
)
from dagster._core.test_utils import create_run_for_test

from analytics_pipeline.orchestration.closing.covering_runs import UNFINISHED, covering_runs
from analytics_pipeline.orchestration.closing.dagster_record import DagsterRecord
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.ingestion.erp_sources import ERP_JOB
from analytics_pipeline.orchestration.runs import paged_records as records
from analytics_pipeline.orchestration.runs.paged_records import run_events, run_records
from analytics_pipeline.settings import get_settings
from analytics_pipeline.windows import Window, common_windows
from analytics_pipeline_tests.events_factory import at

HOURLY = "analytics_revenue_hourly"
KEY = "2025-01-05-10:00"
HOUR = Window(at("2025-01-05T10:00"), at("2025-01-05T11:00"))
DAY = Window(at("2025-01-05T00:00"), at("2025-01-06T00:00"))
# What a person starts in the UI, for assets or as a backfill, runs in this job.
OF_THE_UI = "__ASSET_JOB"
# More than all runs that were looked at once, and than two pages.
MANY = 2_100


@pytest.fixture
def storage(dagster_home: object) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """The tables behind the instance, to make thousands of runs at once and to date them back."""
    url = get_settings().dagster_postgres_url
    assert url is not None
    with psycopg.connect(url.get_secret_value(), autocommit=True) as connection:
        yield connection


def _is_closed(instance: DagsterInstance) -> bool:
    """Return whether the hour is closed as far as the record tells."""
    record = DagsterRecord(instance, get_settings())
    left = [run.window for run in record.left_by_failures(HOURLY)]
    return HOUR in record.materialized(HOURLY, [HOUR]) and not common_windows(left, [HOUR])


def _materialize(instance: DagsterInstance) -> None:
    instance.report_runless_asset_event(AssetMaterialization(HOURLY, partition=KEY))


def _run(
    instance: DagsterInstance,
    job: str,
    first: str,
    last: str | None = None,
    status: DagsterRunStatus = DagsterRunStatus.SUCCESS,
) -> DagsterRun:
    """Leave the record of a run over hours."""
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first}
    run: DagsterRun = create_run_for_test(
        instance, job, status=status, tags=tags, asset_selection=frozenset({AssetKey(HOURLY)})
    )
    return run


def _fail(instance: DagsterInstance, job: str = "hourly_aggregates") -> DagsterRun:
    """Leave the record of a run over the hour that failed, as Dagster does."""
    run = _run(instance, job, KEY, status=DagsterRunStatus.STARTED)
    instance.report_run_failed(run)
    return run


def _repeat(storage: psycopg.Connection[tuple[object, ...]], run: DagsterRun, times: int) -> None:
    """Leave the records of so many further runs like this one."""
    storage.execute(
        "INSERT INTO runs (run_id, pipeline_name, status, run_body, create_timestamp, update_timestamp) "
        "SELECT fresh.id, pipeline_name, status, replace(run_body, run_id, fresh.id), clock_timestamp(), "
        "clock_timestamp() FROM runs, LATERAL (SELECT gen_random_uuid()::text AS id FROM generate_series(1, %s) "
        "WHERE runs.id > 0) AS fresh WHERE run_id = %s",
        [times, run.run_id],
    )


def _date_back(storage: psycopg.Connection[tuple[object, ...]], run: DagsterRun, days: int) -> None:
    storage.execute(
        "UPDATE runs SET create_timestamp = create_timestamp - make_interval(days => %s) WHERE run_id = %s",
        [days, run.run_id],
    )


@pytest.mark.parametrize("job", ["hourly_aggregates", OF_THE_UI])
def test_a_failed_hour_is_open_however_many_other_runs_follow(
    instance: DagsterInstance, storage: psycopg.Connection[tuple[object, ...]], job: str
) -> None:
    _materialize(instance)
    assert _is_closed(instance)
    failed = _fail(instance, job)
    _repeat(storage, instance.add_run(DagsterRun(job_name=ERP_JOB, status=DagsterRunStatus.SUCCESS)), MANY)
    assert not _is_closed(instance)
    (left,) = DagsterRecord(instance, get_settings()).left_by_failures(HOURLY)
    assert (left.run_id, left.window) == (failed.run_id, HOUR)


@pytest.mark.slow
def test_a_failed_hour_is_open_after_pages_of_closing_runs_until_it_is_closed_itself(
    instance: DagsterInstance, storage: psycopg.Connection[tuple[object, ...]]
) -> None:
    _materialize(instance)
    _fail(instance)
    _fail(instance)
    assert records._PAGE_RUNS * 2 < MANY
    _repeat(storage, _run(instance, "hourly_aggregates", "2025-01-05-09:00"), MANY)
    assert not _is_closed(instance)
    _materialize(instance)
    assert _is_closed(instance)


def test_a_run_without_events_is_compared_by_its_time(instance: DagsterInstance) -> None:
    _materialize(instance)
    _run(instance, "hourly_aggregates", KEY, status=DagsterRunStatus.FAILURE)
    assert not _is_closed(instance)
    _materialize(instance)
    assert _is_closed(instance)


@pytest.mark.slow
@pytest.mark.parametrize("status", [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED])
def test_pages_of_failed_runs_hide_none_of_them(
    instance: DagsterInstance, storage: psycopg.Connection[tuple[object, ...]], status: DagsterRunStatus
) -> None:
    _materialize(instance)
    _run(instance, "hourly_aggregates", KEY, status=status)
    _repeat(storage, _run(instance, "hourly_aggregates", "2025-01-05-09:00", status=status), MANY)
    assert not _is_closed(instance)


@pytest.mark.slow
def test_a_run_that_waits_is_seen_behind_pages_of_others(
    instance: DagsterInstance, storage: psycopg.Connection[tuple[object, ...]]
) -> None:
    waiting = _run(instance, OF_THE_UI, "2025-01-05-08:00", KEY, status=DagsterRunStatus.NOT_STARTED)
    _date_back(storage, waiting, 100)
    _repeat(storage, _run(instance, "hourly_aggregates", "2025-01-07-09:00", status=DagsterRunStatus.NOT_STARTED), MANY)
    (run,) = [r for r in covering_runs(instance, get_settings(), UNFINISHED) if r.window.overlaps(HOUR)]
    assert run.run_id == waiting.run_id


def test_a_failure_stays_open_however_old_it_is_until_its_partition_is_closed(
    instance: DagsterInstance, storage: psycopg.Connection[tuple[object, ...]]
) -> None:
    _materialize(instance)
    failed = _fail(instance)
    _date_back(storage, failed, 400)
    assert not _is_closed(instance)
    _materialize(instance)
    assert _is_closed(instance)


def test_of_an_old_failed_range_only_what_nothing_has_closed_since_is_open(
    instance: DagsterInstance, storage: psycopg.Connection[tuple[object, ...]]
) -> None:
    failed = _run(instance, "hourly_aggregates", "2025-01-05-08:00", "2025-01-05-12:00", DagsterRunStatus.STARTED)
    instance.report_run_failed(failed)
    _date_back(storage, failed, 400)
    _materialize(instance)
    left = [str(run.window) for run in DagsterRecord(instance, get_settings()).left_by_failures(HOURLY)]
    assert left == ["[2025-01-05T08:00Z, 2025-01-05T10:00Z)", "[2025-01-05T11:00Z, 2025-01-05T13:00Z)"]


def test_every_job_over_closing_assets_is_read(definitions: Definitions) -> None:
    closing = {AssetKey(asset) for job in CLOSING_JOBS for asset in assets_of(job)}
    jobs = definitions.get_repository_def().get_all_jobs()
    with_closing = {job.name for job in jobs if closing & set(job.asset_layer.selected_asset_keys)}
    assert with_closing == {*CLOSING_JOBS, OF_THE_UI}


def test_runs_and_events_are_read_whole_in_pages(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_PAGE_RUNS", 2)
    monkeypatch.setattr(records, "_PAGE_EVENTS", 2)
    runs = [instance.add_run(DagsterRun(job_name=ERP_JOB, tags={"of": "one"})) for _ in range(5)]
    instance.add_run(DagsterRun(job_name=ERP_JOB, tags={"of": "another"}))
    found = run_records(instance, RunsFilter(tags={"of": "one"}))
    assert [record.dagster_run.run_id for record in found] == [run.run_id for run in reversed(runs)]
    for number in range(5):
        instance.report_engine_event(f"event {number}", runs[0])
    events = run_events(instance, runs[0].run_id, {DagsterEventType.ENGINE_EVENT})
    assert [event.message for event in events] == [f"event {number}" for number in range(5)]
