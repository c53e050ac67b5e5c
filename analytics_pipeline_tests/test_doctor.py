"""``doctor``: the same checks as text and as JSON, with an exit status and what mends each finding."""

import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.health.check_result import State
from analytics_pipeline.health.disk import judge_disk
from analytics_pipeline.health.tuning import ServerSettings, judge_settings, machine_memory
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event

GIB = 1024**3
MIB = 1024**2
TUNED = ServerSettings(
    embedded=False,
    local=True,
    database="analytics",
    shared_buffers=4 * GIB,
    effective_cache_size=12 * GIB,
    work_mem=32 * MIB,
    maintenance_work_mem=512 * MIB,
    max_connections=100,
    max_prepared_transactions=0,
    max_locks_per_transaction=64,
    jit=False,
    chunks=104,
    database_bytes=GIB,
)


def _doctor(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments])


def _findings(result: Result) -> dict[tuple[str, str], dict[str, Any]]:
    return {(f["check"], f["subject"]): f for f in json.loads(result.output)["findings"]}


@pytest.mark.slow
def test_a_migrated_database_has_no_error(database: Database) -> None:
    result = _doctor()
    assert result.exit_code == 0, result.output
    assert " 0 errors" in result.output
    assert "Dagster's storage isn't running" in result.output
    if "embedded" in result.output:
        assert " 0 warnings" in result.output
    else:
        assert "remedy:   REVOKE EXECUTE ON FUNCTION add_job(" in result.output


@pytest.mark.slow
def test_an_error_fails_and_is_followed_by_what_fixes_it(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("SELECT remove_compression_policy('analytics_events')")
    result = _doctor()
    assert result.exit_code == 1
    found = result.output.index("compression_policy       analytics_events: analytics_events has no policy_compression")
    assert "remedy:   analytics-pipeline db policies --apply" in result.output[found:]


@pytest.mark.slow
def test_json_carries_states_measures_and_thresholds(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10", currency=None)
    result = _doctor("--json")
    assert result.exit_code == 1
    report = json.loads(result.output)
    assert report["healthy"] is False
    assert report["counts"]["error"] >= 2
    findings = _findings(result)
    late = findings["up_to_date", "analytics_revenue_hourly"]
    assert late["state"] == "error"
    assert late["metadata"]["hours allowed"] == 2.0
    assert late["remedies"][0].startswith("analytics-pipeline close --start 2025-01-05T10:00")
    assert findings["events_arrive", "analytics_events"]["state"] == "warning"
    assert findings["no_failed_partitions", "Dagster"]["state"] == "skipped"
    assert findings["migrations", "server"]["state"] == "ok"


@pytest.mark.slow
def test_a_warning_fails_only_when_asked_to(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute(
            'INSERT INTO analytics_events (event_id, "timestamp", company_id, event_type, category) '
            "VALUES (gen_random_uuid(), now(), 'acme', 'voucher.redeemed', 'billing')"
        )
    assert _doctor().exit_code == 0
    assert "voucher.redeemed" in _doctor().output
    assert _doctor("--strict").exit_code == 1


def test_an_unmigrated_database_gets_one_clear_remedy(environment: pytest.MonkeyPatch) -> None:
    result = _doctor("--json")
    findings = _findings(result)
    assert result.exit_code == 1
    assert findings["migrations", "server"]["remedies"] == ["analytics-pipeline db migrate"]
    assert findings["schema, policies and data", "server"]["state"] == "skipped"


def test_an_unreachable_server_is_one_finding_without_the_password(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ANALYTICS_DATABASE_URL", "postgresql://who:secret@127.0.0.1:1/none")
    get_settings.cache_clear()
    result = _doctor("--json")
    assert result.exit_code == 1
    assert "Can't connect to 127.0.0.1:1/none" in _findings(result)["connection", "server"]["summary"]
    assert "secret" not in result.output


@pytest.mark.slow
def test_dagsters_storage_out_of_reach_is_one_error_without_the_password(
    database: Database, environment: pytest.MonkeyPatch
) -> None:
    environment.setattr("dagster_postgres.utils.calculate_delay", lambda **_: 0.02)
    environment.setenv("DAGSTER_POSTGRES_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    get_settings.cache_clear()
    result = _doctor("--json")
    assert result.exit_code == 1
    storage = _findings(result)["storage", "Dagster"]
    assert storage["state"] == "error"
    assert "Dagster's storage 127.0.0.1:1/none can't be used: connection to server" in storage["summary"]
    assert _findings(result)["no_failed_partitions", "Dagster"]["state"] == "skipped"
    assert "secret" not in result.output


def test_settings_that_fit_the_machine_pass_and_the_embedded_engine_is_left_alone() -> None:
    assert judge_settings(TUNED, 16 * GIB).passed
    assert "isn't known here" in judge_settings(TUNED, None).summary
    assert judge_settings(replace(TUNED, embedded=True, work_mem=1, jit=True), 16 * GIB).passed


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"shared_buffers": 128 * MIB}, "ALTER SYSTEM SET shared_buffers = '4096MB'; -- then restart the server"),
        ({"shared_buffers": 12 * GIB}, "ALTER SYSTEM SET shared_buffers = '4096MB'; -- then restart the server"),
        (
            {"effective_cache_size": 4 * GIB},
            "ALTER SYSTEM SET effective_cache_size = '12288MB'; SELECT pg_reload_conf();",
        ),
        ({"work_mem": 4 * MIB}, "ALTER SYSTEM SET work_mem = '32MB'; SELECT pg_reload_conf();"),
        ({"work_mem": GIB}, "ALTER SYSTEM SET work_mem = '163MB'; SELECT pg_reload_conf();"),
        (
            {"maintenance_work_mem": 64 * MIB},
            "ALTER SYSTEM SET maintenance_work_mem = '512MB'; SELECT pg_reload_conf();",
        ),
        ({"chunks": 3000}, "ALTER SYSTEM SET max_locks_per_transaction = 360; -- then restart the server"),
        ({"jit": True}, 'ALTER DATABASE "analytics" SET jit = off;'),
    ],
)
def test_each_setting_that_does_not_fit_is_a_warning_with_its_statement(change: dict[str, Any], remedy: str) -> None:
    finding = judge_settings(replace(TUNED, **change), 16 * GIB)
    assert finding.state is State.WARNING
    assert finding.remedies == (remedy,)


def test_memory_is_that_of_the_machine_or_its_container() -> None:
    assert 256 * MIB < machine_memory() < 2**50


@pytest.mark.parametrize(("free", "state"), [(20, State.OK), (3, State.WARNING), (0.5, State.ERROR)])
def test_scarce_disk_space_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: float, state: State
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100 * GIB, 0, int(free * GIB)))
    finding = judge_disk("home", tmp_path / "not" / "there", 5 * MIB)
    assert finding.state is state
    assert finding.metadata["free bytes"] == int(free * GIB)
