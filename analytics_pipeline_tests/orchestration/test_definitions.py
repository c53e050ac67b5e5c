"""Everything Dagster is given, as a text that a reviewer reads in a diff."""

import os
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import pytest
from dagster import AssetKey, PartitionsDefinition, RepositoryDefinition
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.metrics.tables import GRANULARITIES, METRIC_TABLES
from analytics_pipeline.settings import Settings

SNAPSHOT = Path(__file__).with_name("definitions.txt")
WRITE = "WRITE_SNAPSHOT"


def test_the_definitions_are_those_of_the_reviewed_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ANALYTICS_")]:
        monkeypatch.delenv(name)
    settings = Settings(home=tmp_path, start=date(2025, 1, 1))
    found = "\n".join(_describe(build_definitions(settings).get_repository_def())) + "\n"
    if os.environ.get(WRITE):
        SNAPSHOT.write_text(found)
    command = f"{WRITE}=1 python -m pytest {Path(__file__).relative_to(Path(__file__).parents[2])}"
    assert found.splitlines() == SNAPSHOT.read_text().splitlines(), (
        f"The definitions differ from {SNAPSHOT.name}. Where that is wanted, write the file anew with `{command}` "
        "and have its diff reviewed."
    )


def _describe(repository: RepositoryDefinition) -> Iterator[str]:
    graph = repository.asset_graph
    yield "ASSETS: group, partitions; what each depends on; its checks"
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        yield f"{_text(key)}: {node.group_name}, {_partitions(node.partitions_def)}"
        yield from _list("after", node.parent_keys)
        blocking = {check: graph.get_check_spec(check).blocking for check in node.check_keys}
        yield from _list("checks", (f"{check.name}{' (blocking)' * blocking[check]}" for check in blocking))
    yield "\nJOBS: partitions; the assets of each; its checks, where they aren't all those of its assets"
    for job in sorted(repository.get_all_jobs(), key=lambda job: job.name):
        # Dagster's own, of everything there is.
        if job.name.startswith("__"):
            continue
        yield f"{job.name}: {_partitions(job.partitions_def)}"
        assets = set(job.asset_layer.executable_asset_keys)
        yield from _list("assets", assets)
        checks = {check for data in job.asset_layer.data for check in data.assets_def.check_keys}
        if checks != graph.get_check_keys_for_assets(assets):
            for name in sorted({check.name for check in checks}):
                yield from _list(f"check {name} of", (check.asset_key for check in checks if check.name == name))
    yield "\nSCHEDULES: when; what each runs"
    for schedule in sorted(repository.schedule_defs, key=lambda schedule: schedule.name):
        when = f"{schedule.cron_schedule} {schedule.execution_timezone}, {schedule.default_status.value}"
        yield f"{schedule.name}: {when}; {schedule.job_name}"
    yield "\nSENSORS: how often; what each runs"
    for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name):
        yield f"{sensor.name}: every {sensor.minimum_interval_seconds} s, {sensor.default_status.value}"
        yield from _list("jobs", (target.job_name for target in sensor.targets))


def _list(what: str, items: Iterable[AssetKey | str]) -> Iterator[str]:
    """Yield a line that lists the items in order, or none where there are none."""
    if names := sorted(map(_text, items)):
        yield f"    {what} {', '.join(names)}"


def _text(item: AssetKey | str) -> str:
    return item if isinstance(item, str) else item.to_user_string()


def _partitions(partitions: PartitionsDefinition[str] | None) -> str:
    return str(partitions) if partitions else "no partitions"


def test_the_graph_reads_as_the_data_flow(tmp_path: Path) -> None:
    graph = _graph(tmp_path)
    for source in ("erp_invoices", "erp_payments", "erp_logins"):
        assert AssetKey("analytics_events") in _below(graph, source)
    for table in (table for table in METRIC_TABLES if table.converts):
        for granularity in GRANULARITIES:
            assert AssetKey(table.asset(granularity)) in _below(graph, "fx_rates")
    flow = ["storage", "aggregates", "metrics", "reports"]
    for key in graph.get_all_asset_keys():
        for parent in graph.get(key).parent_keys:
            above, below = graph.get(parent).group_name, graph.get(key).group_name
            assert flow.index(above or "") <= flow.index(below or ""), f"{parent} stands above {key}"


def test_what_comes_in_makes_no_partition_look_out_of_date_and_keeps_no_run_from_the_hypertable(tmp_path: Path) -> None:
    graph = _graph(tmp_path)
    between = graph.get(AssetKey("incoming_events"))
    # Dagster asks nothing but its direct parents whether an asset is out of date, and of an external one nothing.
    assert graph.get(AssetKey("analytics_events")).parent_keys == {between.key}
    assert (between.is_external, between.is_materializable) == (True, False)


def test_a_source_that_nothing_feeds_says_so(tmp_path: Path) -> None:
    unfed = "Nothing feeds it yet: ANALYTICS_ERP_URL is not set (docs/erp-sources.md). "
    for url, begins in (None, True), ("postgresql://erp/erp", False):
        graph = _graph(tmp_path, erp_url=url)
        for key in graph.get_all_asset_keys():
            if key.path[-1].startswith("erp_"):
                assert (graph.get(key).description or "").startswith(unfed) is begins


def _graph(home: Path, erp_url: str | None = None) -> AssetGraph:
    settings = Settings.model_validate({"home": home, "start": date(2025, 1, 1), "erp_url": erp_url})
    return build_definitions(settings).get_repository_def().asset_graph


def _below(graph: AssetGraph, asset: str) -> set[AssetKey]:
    """Return everything that stands below an asset."""
    found: set[AssetKey] = set()
    waiting = [AssetKey(asset)]
    while waiting:
        new = set(graph.get(waiting.pop()).child_keys) - found
        found |= new
        waiting += new
    return found
