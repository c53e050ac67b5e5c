"""Our definitions in somebody else's code location: with prefixes, merged, as a component, and without a trace."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    Definitions,
    RepositoryDefinition,
    asset,
    multiprocess_executor,
)
from dagster.components.testing import create_defs_folder_sandbox

import analytics_pipeline
from analytics_pipeline.definitions import build_definitions, build_shared_definitions
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.orchestration.sensor_ticks import Ticks

PREFIX = ["erp", "stats"]
NAMED = {"asset_key_prefix": "erp/stats", "asset_group_prefix": "erp_"}
# What a process must not do by importing the code location.
_TRACELESS = """
import os, signal, sys, warnings
import dagster, dagster_postgres

def state():
    return dict(os.environ), os.getcwd(), signal.getsignal(signal.SIGTERM), list(warnings.filters)

def watch(event, args):
    written = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    if event in ("socket.connect", "os.mkdir") or (written and "__pycache__" not in str(args[0])):
        touched.append((event, args))

touched, before = [], state()
sys.addaudithook(watch)
import analytics_pipeline.definitions, analytics_pipeline.component
from analytics_pipeline.settings import get_settings
print(touched, state() == before, get_settings.cache_info().currsize)
"""


@asset(key=["other", "revenue_metrics"])
def _of_others() -> None:
    """Return nothing: an asset of somebody else that has the name of one of ours."""


def _merged(settings: Settings) -> Definitions:
    others = Definitions(assets=[_of_others], executor=multiprocess_executor)
    return Definitions.merge(others, build_shared_definitions(settings))


def _prefixed(repository: RepositoryDefinition) -> Iterator[AssetKey]:
    yield from (key for key in repository.asset_graph.get_all_asset_keys() if key.path[:-1] == PREFIX)


def test_prefixes_reach_every_asset_group_check_and_job_of_merged_definitions(dagster_home: Path) -> None:
    settings = get_settings()
    plain = build_definitions(settings).get_repository_def()
    merged = _merged(settings.model_copy(update=NAMED)).get_repository_def()
    keys = set(_prefixed(merged))
    assert {AssetKey(key.path[-1]) for key in keys} == set(plain.asset_graph.get_all_asset_keys())
    assert keys | {AssetKey(["other", "revenue_metrics"])} == set(merged.asset_graph.get_all_asset_keys())
    for key in keys:
        node, before = merged.asset_graph.get(key), plain.asset_graph.get(AssetKey(key.path[-1]))
        assert node.group_name == f"erp_{before.group_name}"
        assert {parent.path[-1] for parent in node.parent_keys} == {parent.path[-1] for parent in before.parent_keys}
        assert {check.name for check in node.check_keys} == {check.name for check in before.check_keys}
    for job in plain.get_all_jobs():
        if not job.name.startswith("__"):
            of_job = merged.get_job(job.name).asset_layer.executable_asset_keys
            assert {key.path[-1] for key in of_job} == {key.path[-1] for key in job.asset_layer.executable_asset_keys}


@pytest.mark.slow
def test_partitions_are_closed_and_found_late_under_their_prefixed_keys(
    database: Database, instance: DagsterInstance
) -> None:
    definitions = _merged(get_settings().model_copy(update=NAMED))
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
        job = definitions.resolve_job_def("hourly_aggregates")
        assert job.execute_in_process(instance=instance, partition_key="2025-01-05-10:00").success
        closed = "SELECT DISTINCT asset FROM analytics_partitions WHERE closed_at IS NOT NULL"
        assert ("analytics_revenue_hourly",) in connection.execute(closed).fetchall()
        add_event(connection, "2025-01-05T10:20")
        late = Ticks(definitions, instance, "late_events")
        (request,) = [request for request in late.tick() if request.job_name == "hourly_aggregates"]
        assert {tuple(key.path[:-1]) for key in request.asset_selection or ()} == {(*PREFIX,)}
        assert late.launch(request).success
    key = AssetKey([*PREFIX, "analytics_revenue_hourly"])
    assert len(instance.fetch_materializations(key, limit=9).records) == 2


def test_a_component_reads_its_attributes_and_names_a_wrong_one(
    dagster_home: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("KEYS_BEGIN_WITH", "erp/stats")
    attributes = {"asset_key_prefix": "{{ env.KEYS_BEGIN_WITH }}", "start": "2025-02-01", "base_currency": "CHF"}
    with create_defs_folder_sandbox() as sandbox:
        contents = {"type": "analytics_pipeline.Pipeline", "attributes": attributes}
        path = sandbox.scaffold_component(analytics_pipeline.Pipeline, defs_yaml_contents=contents)
        with sandbox.load_component_and_build_defs(path) as (component, definitions):
            assert isinstance(component, analytics_pipeline.Pipeline)
            assert component.settings.base_currency == "CHF"
            graph = definitions.get_repository_def().asset_graph
            days = graph.get(AssetKey([*PREFIX, "revenue_metrics"])).partitions_def
            assert "2025-02-01" in str(days)
        wrong = {**contents, "attributes": {"start": "2025-02-03"}}
        with (
            sandbox.swap_defs_file(path / "defs.yaml", wrong),
            pytest.raises(Exception, match="Error while loading component") as raised,
            sandbox.load_component_and_build_defs(path),
        ):
            pass
    (said,) = [str(error) for error in _causes(raised.value) if isinstance(error, AnalyticsError)]
    assert said == "ANALYTICS_START: must be the first day of a month, not 2025-02-03."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.slow
def test_importing_the_code_location_leaves_no_trace(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", _TRACELESS], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (run.stdout.strip(), list(tmp_path.iterdir())) == ("[] True 0", []), run.stderr
