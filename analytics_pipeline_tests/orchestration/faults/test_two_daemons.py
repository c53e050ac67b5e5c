"""Two daemons on one storage of Dagster: what both ask for is done once, or twice without harm."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from analytics_pipeline.orchestration.instance import dagster_environment, project_file
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.orchestration.faults.platform_run import EVENTS, REJECTED, Platform

pytestmark = [pytest.mark.faults, pytest.mark.endurance, pytest.mark.daemon]

WITHIN_SECONDS = 1_200
# A file is taken once it has been quiet for as long as the sensor says, which the daemons' processes do not shorten.
QUIET_SECONDS = 60


@contextmanager
def daemon(log: Path) -> Iterator[None]:
    """Run a daemon with the code location of the settings."""
    environment = {**os.environ, **dagster_environment(get_settings())}
    command = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(project_file("workspace.yaml"))]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            yield
            assert process.poll() is None, log.read_text()[-2000:]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()
            # Its code server, and runs that it executes.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_two_daemons_lose_and_double_nothing(platform: Platform, instance: DagsterInstance, tmp_path: Path) -> None:
    (path,) = (get_settings().home / "inbox").iterdir()
    moment = time.time() - QUIET_SECONDS
    os.utime(path, (moment, moment))
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    with daemon(logs[0]), daemon(logs[1]):
        deadline = time.monotonic() + WITHIN_SECONDS
        while not _is_done(platform):
            assert time.monotonic() < deadline, [run.status for run in instance.get_runs(limit=20)]
            time.sleep(1)
    failed = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.FAILURE]))
    assert failed == []
    keys = Counter(run.tags["dagster/run_key"] for run in instance.get_runs() if "dagster/run_key" in run.tags)
    print(f"\n{sum(keys.values())} runs of {len(keys)} requests")  # noqa: T201 - what it came to, with -s
    # What is left of the last round is the automation's, which one daemon alone would do as well.
    platform.work_undisturbed()


def _is_done(platform: Platform) -> bool:
    query = (
        "SELECT (SELECT count(*) FROM analytics_events), (SELECT count(*) FROM analytics_ingest_rejects), "
        "(SELECT count(*) FROM analytics_outbox WHERE state = 'sent')"
    )
    with psycopg.connect(platform.database.url) as connection:
        return connection.execute(query).fetchone() == (EVENTS, REJECTED, 2)
