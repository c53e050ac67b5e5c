"""The demo a week later, when schedules and sensors have closed every day since: all checks pass."""

import gzip
from datetime import date, timedelta
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance

from analytics_pipeline import demo
from analytics_pipeline.health.checks import all_checks, run_check
from analytics_pipeline.orchestration.close import (
    close_with_instance,
    load_rates_with_instance,
    report_file_with_instance,
    set_up_with_instance,
)
from analytics_pipeline.orchestration.closing.failed_partitions import failed_partition_findings
from analytics_pipeline.orchestration.closing.jobs import partitioned_assets
from analytics_pipeline.orchestration.closing.recorded_partitions import recorded_partitions_finding
from analytics_pipeline.orchestration.runs.tags import DEMO
from analytics_pipeline.reports.monthly import monthly_order
from analytics_pipeline.reports.publish import load_order
from analytics_pipeline.reports.quality import QUALITY
from analytics_pipeline.sample import write_rates, write_sample
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import fetch_row
from analytics_pipeline.windows import Granularity, Window, midnight
from analytics_pipeline_tests.conftest import SERVER_URL, Database

SIZE = demo.SampleSize(months=2, companies=2, scale=0.1, seed=7)


def _sample_until(start: date, day: date, folder: Path) -> tuple[Path, Path]:
    """Write the sample from the first day of a month to a day of it or the next, events and rates."""
    whole, events, rates = folder / "whole.jsonl", folder / "sample.jsonl.gz", folder / "rates.csv"
    write_sample(whole, seed=SIZE.seed, start=start, months=2, companies=SIZE.companies, scale=SIZE.scale)
    with gzip.open(events, "wt") as file:
        # Every line has its instant behind the event's id, in ISO form.
        file.writelines(line for line in whole.open() if line.split('"timestamp":"')[1][:10] <= f"{day}")
    write_rates(whole, seed=SIZE.seed, start=start, months=2)
    header, *lines = whole.read_text().splitlines(keepends=True)
    rates.write_text("".join([header, *(line for line in lines if line[:10] <= f"{day}")]))
    return events, rates


@pytest.mark.slow
def test_a_week_after_its_last_day_every_check_of_the_untouched_demo_passes(
    database: Database, instance: DagsterInstance, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    with database.connect(autocommit=True) as connection:
        now = database_now(connection)
    last_day = (now - timedelta(days=7)).date()
    start = (last_day - timedelta(days=7)).replace(day=1)
    events, rates = _sample_until(start, last_day, tmp_path)
    environment.setenv("ANALYTICS_START", f"{start}")
    environment.setenv("ANALYTICS_FX_SOURCE", str(rates))
    get_settings.cache_clear()
    settings = get_settings()
    loaded = Window(midnight(start), midnight(last_day + timedelta(days=1)))

    summary = demo._ingest(settings, events, lambda _: None)
    assert demo._date_arrivals(settings, loaded, SIZE) > 0.99 * summary.new
    assert demo._date_arrivals(settings, loaded, SIZE) == 0, "repeating it changes nothing"
    report_file_with_instance(settings, events.name, summary)
    set_up_with_instance(settings, reason=DEMO)
    load_rates_with_instance(settings, reason=DEMO)
    close_with_instance(settings, Window(loaded.start, Granularity.HOUR.floor(now)), reason=DEMO)

    _assert_green(database, settings, instance)
    shown = {name: _newest(instance, name) for name in ("incoming_events", "analytics_events", "fx_rates")}
    assert shown["incoming_events"]["new events"] == summary.new > 100
    assert shown["analytics_events"]["dagster/row_count"] == pytest.approx(summary.new, rel=0.1)
    assert shown["fx_rates"]["newest rate"] == f"{last_day}"
    with database.connect(autocommit=True) as connection:
        late = fetch_row(
            connection,
            'SELECT count(*) FILTER (WHERE ingested_at > "timestamp"), '
            "count(*) FILTER (WHERE metadata ? 'arrived_at') FROM analytics_events",
        )
        assert late[0] == late[1]
        quality = load_order(connection, monthly_order(connection, settings, None, start))[QUALITY]
    assert quality.raw is not None
    assert quality.raw.late < 0.02 * quality.raw.events, "as late as the sample says"


def _assert_green(database: Database, settings: Settings, instance: DagsterInstance) -> None:
    with database.connect(autocommit=True) as connection:
        findings = [
            *(run_check(check, connection, settings) for check in all_checks()),
            *failed_partition_findings(instance, connection, settings, partitioned_assets()),
            recorded_partitions_finding(instance, connection, settings),
        ]
    failed = {finding.check: finding.text for finding in findings if not finding.passed}
    if SERVER_URL is not None:
        # A server of its own is nobody's demo: real data are expected every other day.
        assert "hours ago (allowed are 48)" in failed.pop("events_arrive")
    assert failed == {}


def _newest(instance: DagsterInstance, asset: str) -> dict[str, object]:
    (record,) = instance.fetch_materializations(AssetKey(asset), limit=1).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}
