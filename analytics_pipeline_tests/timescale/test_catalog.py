"""A TimescaleDB whose internal tables are not those we read is named before anything is refreshed."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from analytics_pipeline.cli import main
from analytics_pipeline.database import migrate
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.health.check_result import State
from analytics_pipeline.health.server import judge_server, read_server_state
from analytics_pipeline.sql_files import SQL_ROOT
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.catalog import FUNCTIONS, RELATIONS, missing_from_catalog
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at

# What the next releases say they will remove.
RANGES = "_timescaledb_catalog.continuous_aggs_materialization_ranges"
DAY = Window(at("2025-03-05T00:00"), at("2025-03-06T00:00"))
HOURLY = AGGREGATES[0]
PACKAGE = SQL_ROOT.parent / "analytics_pipeline"


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


@contextmanager
def without_a_column(connection: Connection) -> Iterator[str]:
    """Rename a column of the catalog, as a later release might drop it, and back; yields its name.

    The engine itself goes by positions and does not notice.
    """
    connection.execute(f"ALTER TABLE {RANGES} RENAME materialization_id TO gone")
    try:
        yield f"{RANGES}.materialization_id"
    finally:
        connection.execute(f"ALTER TABLE {RANGES} RENAME gone TO materialization_id")


@pytest.mark.slow
def test_the_server_of_the_tests_has_all_that_is_read(connection: Connection) -> None:
    assert missing_from_catalog(connection) == []


def test_whatever_the_sql_reads_of_the_engine_is_listed() -> None:
    texts = [path.read_text() for path in SQL_ROOT.rglob("*.sql")]
    texts += [path.read_text() for pattern in ("*.py", "*.mjs") for path in PACKAGE.rglob(pattern)]
    names = {name for text in texts for name in re.findall(r"(?:_timescaledb_\w+|timescaledb_information)\.\w+", text)}
    assert names == RELATIONS.keys() | {function.partition("(")[0] for function in FUNCTIONS}


@pytest.mark.parametrize("relation", RELATIONS)
def test_a_listed_column_is_one_that_the_sql_names(relation: str) -> None:
    texts = [path.read_text() for path in [*SQL_ROOT.rglob("*.sql"), *PACKAGE.rglob("*.mjs")]]
    using = " ".join(text for text in texts if relation in text)
    assert [column for column in RELATIONS[relation] if not re.search(rf"\b{column}\b", using)] == []


def test_missing_tables_columns_and_functions_are_named(connection: Connection) -> None:
    relations = {
        "timescaledb_information.jobs": ("job_id", "mood"),
        "_timescaledb_catalog.nowhere": ("id", "name"),
    }
    missing = missing_from_catalog(connection, relations, ("_timescaledb_functions.to_timestamp(uuid, uuid)",))
    assert missing == [
        "_timescaledb_catalog.nowhere",
        "_timescaledb_functions.to_timestamp(uuid, uuid)",
        "timescaledb_information.jobs.mood",
    ]


def test_doctor_and_the_check_name_version_and_remedy_in_one_sentence(connection: Connection) -> None:
    version = server_info(connection).timescaledb_version
    with without_a_column(connection) as name:
        finding = judge_server(read_server_state(connection), missing_from_catalog(connection))
        result = CliRunner().invoke(main, ["doctor", "--json"])
    assert finding.state is State.ERROR
    assert f"TimescaleDB {version} lacks what this program reads of its internal tables ({name})" in finding.summary
    assert "restore the database into TimescaleDB 2.29.2" in finding.summary
    report = {entry["check"]: entry for entry in json.loads(result.output)["findings"]}
    assert result.exit_code == 1
    assert report["timescaledb_extension"]["summary"] == finding.summary
    assert report["schema, policies and data"]["state"] == "skipped"
    assert {check for check, entry in report.items() if entry["state"] == "error"} == {"timescaledb_extension"}


@pytest.mark.slow
def test_nothing_is_refreshed_and_nothing_migrated(connection: Connection) -> None:
    add_event(connection, "2025-03-05T10:10")
    attempts: list[Callable[[], object]] = [
        lambda: refresh(connection, HOURLY, DAY),
        lambda: stale_ranges(connection, DAY),
        migrate,
    ]
    with without_a_column(connection):
        for attempt in attempts:
            with pytest.raises(AnalyticsError, match=r"lacks what this program reads .*update analytics_pipeline"):
                attempt()
    assert refresh(connection, HOURLY, DAY).invalidated != (), "the day was still to be stored"
