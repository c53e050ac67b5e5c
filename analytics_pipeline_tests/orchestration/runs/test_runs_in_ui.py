"""What a command executes is the code location's: the UI lists it, and messages name it whole."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, Definitions

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration.close import close_span
from analytics_pipeline.orchestration.instance import project_file
from analytics_pipeline.orchestration.runs.tags import DEMO
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.refresh import materialized_tables
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.ports import free_port

HOUR = Window(at("2025-01-05T10:00"), at("2025-01-05T11:00"))
JOB = {
    "pipelineName": "hourly_aggregates",
    "repositoryName": "__repository__",
    "repositoryLocationName": "analytics_pipeline",
}
# As the pages of the UI ask: the job's page by its selector, the timeline for runs that say which job they are of.
JOB_PAGE = """query($job: PipelineSelector!) { pipelineOrError(params: $job) { ... on Pipeline {
    runs(limit: 10) { runId } } } }"""
TIMELINE = """query($wanted: RunsFilter!) { runsOrError(filter: $wanted, limit: 10) { ... on Runs { results {
    runId pipelineName tags { key value } repositoryOrigin { repositoryName repositoryLocationName } } } } }"""


@pytest.mark.daemon
def test_a_run_of_a_command_is_on_the_page_of_its_job_and_on_the_timeline(
    database: Database, instance: DagsterInstance, definitions: Definitions, dagster_home: Path
) -> None:
    (closed,) = close_span(definitions, get_settings(), instance, HOUR, reason=DEMO)
    with _webserver(dagster_home) as ask:
        page = ask(JOB_PAGE, {"job": JOB})["pipelineOrError"]
        assert page == {"runs": [{"runId": closed.run_id}]}
        (run,) = ask(TIMELINE, {"wanted": {"statuses": ["SUCCESS"]}})["runsOrError"]["results"]
    assert run["runId"] == closed.run_id
    assert run["pipelineName"] == JOB["pipelineName"]
    assert run["repositoryOrigin"] == {name: JOB[name] for name in ("repositoryName", "repositoryLocationName")}
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert tags["dagster/asset_partition_range_start"] == "2025-01-05-10:00"
    assert tags["dagster/asset_partition_range_end"] == "2025-01-05-10:00"
    assert tags["analytics/closed_because"] == "demo"


@pytest.mark.slow
@pytest.mark.parametrize("ui_url", ["", "https://dagster.example.com"])
def test_a_failed_close_names_its_run_whole_or_by_its_address(
    database: Database,
    instance: DagsterInstance,
    definitions: Definitions,
    environment: pytest.MonkeyPatch,
    ui_url: str,
) -> None:
    environment.setenv("ANALYTICS_UI_URL", ui_url)
    get_settings.cache_clear()
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
        close_span(definitions, get_settings(), instance, HOUR)
        table = materialized_tables(connection)["analytics_revenue_hourly"].identifier.as_string(connection)
        connection.execute(f"UPDATE {table} SET total_value = total_value * 2")
        with pytest.raises(AnalyticsError) as raised:
            close_span(definitions, get_settings(), instance, HOUR)
    failed = instance.get_runs(limit=1)[0].run_id
    named = f"{ui_url}/runs/{failed}" if ui_url else f"run {failed}"
    assert f"hourly_aggregates ({named}) has failed checks." in str(raised.value)


@contextmanager
def _webserver(dagster_home: Path) -> Iterator[Callable[[str, dict[str, Any]], dict[str, Any]]]:
    """Run Dagster's webserver on the instance; the block gets what asks its GraphQL."""
    port = free_port()
    command = ["-m", "dagster_webserver", "-w", str(project_file("workspace.yaml")), "-h", "127.0.0.1", "-p", str(port)]
    log = (dagster_home / "webserver.log").open("wb")
    with log, subprocess.Popen([sys.executable, *command], cwd=dagster_home, stdout=log, stderr=log) as server:

        def ask(query: str, variables: dict[str, Any]) -> dict[str, Any]:
            body = json.dumps({"query": query, "variables": variables}).encode()
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, headers)
            with urllib.request.urlopen(request) as response:  # noqa: S310
                answer = json.load(response)
            assert "errors" not in answer, answer
            data: dict[str, Any] = answer["data"]
            return data

        try:
            while True:
                assert server.poll() is None, Path(log.name).read_text()
                try:
                    ask("{ version }", {})
                    break
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.1)
            yield ask
        finally:
            server.terminate()
