"""Server, hypertable and aggregates are as the migrations and declarations have them."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from analytics_pipeline.cli import main
from analytics_pipeline.health.check_result import State
from analytics_pipeline.health.checks import all_checks
from analytics_pipeline.health.server import ServerState, judge_server
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.health.conftest import Ask

VOLUME = "analytics_event_volume_hourly"
SOUND = ServerState(
    postgres_version="17.5",
    embedded=False,
    available_version="2.29.1",
    timescaledb_version="2.29.1",
    license="timescale",
    restoring=False,
    preloaded=True,
    timescaledb_workers=16,
    max_worker_processes=32,
    max_parallel_workers=8,
    sees_workers=True,
    schedulers=2,
    scheduler_here=True,
)


def test_the_server_of_the_tests_is_sound(ask: Ask) -> None:
    finding = ask("timescaledb_extension")
    assert finding.state is not State.ERROR, finding.text
    assert finding.metadata["minimum version"] == "2.23.0"


def test_the_embedded_server_needs_no_workers_and_no_preloading() -> None:
    state = replace(
        SOUND,
        embedded=True,
        timescaledb_version="2.23.0-dev",
        preloaded=False,
        timescaledb_workers=None,
        max_worker_processes=8,
        schedulers=0,
        scheduler_here=False,
    )
    assert judge_server(state).passed


@pytest.mark.parametrize(
    ("change", "state", "text", "remedy"),
    [
        ({}, State.OK, "2.29.1", ""),
        ({"timescaledb_version": None}, State.ERROR, "lacks the TimescaleDB extension", "CREATE EXTENSION"),
        ({"timescaledb_version": None, "available_version": None}, State.ERROR, "install the package", ""),
        (
            {"timescaledb_version": "2.22.1"},
            State.ERROR,
            "below the floor 2.23.0",
            "ALTER EXTENSION timescaledb UPDATE",
        ),
        ({"timescaledb_version": "2.28.1"}, State.ERROR, "2.28 series", "ALTER EXTENSION timescaledb UPDATE"),
        ({"timescaledb_version": "2.24.0"}, State.WARNING, "duplicates rows", "ALTER EXTENSION timescaledb UPDATE"),
        ({"license": "apache"}, State.ERROR, "Apache edition", "timescaledb.license = 'timescale'"),
        ({"restoring": True}, State.ERROR, "restoring mode", "timescaledb_post_restore()"),
        ({"preloaded": False}, State.ERROR, "not preloaded", "shared_preload_libraries = 'timescaledb'"),
        ({"schedulers": 15}, State.WARNING, "15 databases share 16", "timescaledb.max_background_workers = 34"),
        ({"max_worker_processes": 8}, State.WARNING, "wanted are 27", "max_worker_processes = 27"),
        ({"scheduler_here": False}, State.WARNING, "no policy does", "start_background_workers()"),
        ({"scheduler_here": False, "sees_workers": False, "schedulers": 0}, State.OK, "2.29.1", ""),
        ({"preloaded": None}, State.OK, "2.29.1", ""),
    ],
)
def test_each_defect_of_a_server_is_named_with_its_remedy(
    change: dict[str, object], state: State, text: str, remedy: str
) -> None:
    finding = judge_server(replace(SOUND, **change))  # type: ignore[arg-type]
    assert finding.state is state
    assert text in finding.summary
    assert remedy in " ".join(finding.remedies)


def test_a_database_left_in_restoring_mode_is_found(ask: Ask, connection: Connection) -> None:
    connection.execute("SET timescaledb.restoring = 'on'")
    finding = ask("timescaledb_extension")
    assert "restoring mode" in finding.summary
    connection.execute("SET timescaledb.restoring = 'off'")


def test_stopped_background_workers_are_found_and_the_remedy_starts_them(ask: Ask, connection: Connection) -> None:
    if ask("timescaledb_extension").metadata["embedded"]:
        pytest.skip("the embedded server has no background workers")
    connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
    finding = ask("timescaledb_extension")
    assert "background worker scheduler runs" in finding.summary
    connection.execute(finding.remedies[-1])
    assert "background worker scheduler" not in ask("timescaledb_extension").summary


@pytest.mark.slow
def test_a_lost_unique_key_is_an_error_whose_remedy_restores_it(ask: Ask, connection: Connection) -> None:
    connection.execute("DROP INDEX analytics_events_event_id_timestamp_key")
    finding = ask("hypertable_layout")
    assert finding.state is State.ERROR
    assert "CREATE UNIQUE INDEX" in finding.summary


@pytest.mark.slow
def test_every_aggregate_matches_its_declaration_to_the_query(ask: Ask) -> None:
    for aggregate in AGGREGATES:
        finding = ask("matches_declaration", aggregate.name)
        assert finding.passed, finding.text
        assert "time_bucket" in finding.metadata["stored definition"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        "count(*) AS event_count FROM analytics_events WHERE category <> 'billing' GROUP BY 1, 2, 3, 4",
        "count(value) AS event_count FROM analytics_events GROUP BY 1, 2, 3, 4",
    ],
    ids=["a filter", "a measure"],
)
def test_a_changed_query_is_drift_though_all_columns_are_there(ask: Ask, connection: Connection, query: str) -> None:
    connection.execute(f"DROP MATERIALIZED VIEW {VOLUME}")
    connection.execute(
        f"CREATE MATERIALIZED VIEW {VOLUME} WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS "
        "SELECT time_bucket(interval '1 hour', \"timestamp\") AS bucket, company_id, category, event_type, "
        f"{query} WITH NO DATA"
    )
    finding = ask("matches_declaration", VOLUME)
    assert "its query is not the declared one" in finding.summary.lower()
    assert finding.metadata["stored definition"] != finding.metadata["declared definition"]
    assert finding.remedies == (f"analytics-pipeline db rebuild {VOLUME}",)
    assert CliRunner().invoke(main, ["db", "rebuild", VOLUME]).exit_code == 0
    assert ask("matches_declaration", VOLUME).passed


@pytest.mark.slow
def test_a_missing_aggregate_fails_its_checks_and_raises_nothing(ask: Ask, connection: Connection) -> None:
    connection.execute(f"DROP MATERIALIZED VIEW {VOLUME}")
    for name in ("matches_declaration", "up_to_date", "reconciles_with_events"):
        finding = ask(name, VOLUME)
        assert finding.state is State.ERROR
        assert "does not exist" in finding.summary
    blind = ask("known_event_types")
    assert blind.state is State.ERROR
    assert "can't be judged" in blind.summary


@pytest.mark.slow
def test_comparing_definitions_leaves_nothing_behind(ask: Ask, connection: Connection) -> None:
    ask("matches_declaration", VOLUME)
    assert connection.execute("SELECT count(*) FROM pg_class WHERE relname ~ 'declared_definition'").fetchone() == (0,)


def test_every_check_has_a_description_and_a_subject_of_its_own() -> None:
    checks = all_checks()
    assert len({(c.name, c.subject) for c in checks}) == len(checks)
    assert all(c.description.endswith(".") for c in checks)
