"""DuckDB and Spark give from the archived events what TimescaleDB has stored, to the last digit."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from psycopg import sql

from analytics_pipeline.archive.archiving import archive_and_drop
from analytics_pipeline.archive.computing import compute_from_archive
from analytics_pipeline.archive.delta_table import open_archive
from analytics_pipeline.cli import main
from analytics_pipeline.engines import spark_job
from analytics_pipeline.engines.duckdb_engine import compute_with_duckdb
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.policies import change_policies
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.timescale.waiting import WatchedConnection
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at

pytestmark = pytest.mark.slow

SPAN = Window(at("2023-01-01T00:00"), at("2023-03-01T00:00"))
Rows = list[tuple[Any, ...]]


@pytest.fixture
def connection(database: Database, environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WatchedConnection]:
    """Two closed months that have expired and are archived, with what engines lose first: digits, edges, nulls, quotes.

    Files that are not current lie beside those that are.
    """
    environment.setenv("ANALYTICS_ARCHIVE", str(tmp_path / "archive"))
    get_settings.cache_clear()
    with database.connect(autocommit=True) as connection:
        for when, value in (
            ("2023-01-01T00:00", "0.100000000000000001"),
            ("2023-01-31T23:59:59.999999", "12345678901234567890.2"),
            ("2023-02-01T00:00", "-0.3"),
            ("2023-02-28T23:59:59.999999", None),
        ):
            add_event(connection, when, value=value, currency="EUR")
            add_event(connection, when, "payment.refunded", value="-1.10", user_id=None)
            add_event(connection, when, "crypto.received", category="crypto", value="0.00012345", currency="BTC")
            add_event(connection, when, "user.login", category="user_activity", value=None, currency=None)
            add_event(connection, when, "user.deleted", category="user_activity", value=None, currency=None)
            add_event(connection, when, "invoice.credited", category="billing", value="-7", user_id="ü'\"2")
        for granularity in Granularity:
            for aggregate in (a for a in AGGREGATES if a.granularity is granularity):
                refresh(connection, aggregate, SPAN)
        change_policies(connection, server_info(connection), {"retention": "2 years"})
        archive_and_drop(connection, get_settings())
        assert connection.execute("SELECT count(*) FROM analytics_events").fetchone() == (0,)
        open_archive(get_settings()).delta.optimize.compact()
        yield connection


def stored(connection: Connection, aggregate: ContinuousAggregate) -> Rows:
    query = sql.SQL("SELECT {} FROM {} WHERE bucket >= %s AND bucket < %s").format(
        sql.SQL(", ").join(map(sql.Identifier, aggregate.columns)), sql.Identifier(aggregate.name)
    )
    return connection.execute(query, [SPAN.start, SPAN.end]).fetchall()


def in_order(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: tuple(map(str, row[:4])))


def test_duckdb_computes_every_aggregate_from_the_archive_as_it_is_stored(connection: WatchedConnection) -> None:
    pytest.importorskip("duckdb", reason="the extra 'engines' is not installed")
    settings = get_settings()
    for aggregate in AGGREGATES:
        expected = stored(connection, aggregate)
        assert len(expected) > 1
        computed = in_order(compute_from_archive(connection, settings, aggregate, SPAN))
        assert computed == in_order(expected), aggregate.name
        # With as many zeros.
        assert [list(map(str, row)) for row in computed] == [list(map(str, row)) for row in in_order(expected)]
    # A part of it, in whole buckets, by the command.
    february = ["compute", "analytics_revenue_monthly", "--month", "2023-02"]
    done = CliRunner().invoke(main, ["archive", *february])
    assert done.output == (
        "bucket=2023-02-01T00:00:00Z  company_id=acme  currency=EUR  total_value=-2.50  "
        "refund_value=-2.20  event_count=4\n"
    ), done.output
    monthly = next(a for a in AGGREGATES if a.name == "analytics_revenue_monthly")
    with pytest.raises(AnalyticsError, match=r"whole months: use \[2023-02-01"):
        compute_from_archive(connection, settings, monthly, Window(at("2023-02-02T00:00"), SPAN.end))
    # A month of which the archive lacks events, which are in the database.
    recent = at("2026-09-05T10:00")
    add_event(connection, f"{recent:%Y-%m-%dT%H:%M}")
    with pytest.raises(AnalyticsError, match="it holds nothing of it"):
        compute_from_archive(connection, settings, monthly, Window.of_month(recent.date()))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1" + "0" * 25, "0." + "1" * 20], "26 digits before the point and 20 after it"),
        (["9" * 38, "9" * 38], "DuckDB can't compute"),
        (["NaN", "1"], "DuckDB can't compute"),
    ],
    ids=["too many digits", "a sum that is too large", "no number"],
)
def test_digits_that_an_engine_would_lose_are_an_error(tmp_path: Path, values: list[str], message: str) -> None:
    pytest.importorskip("duckdb", reason="the extra 'engines' is not installed")
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    texts = {"company_id": "acme", "user_id": "u1", "event_type": "payment.received", "category": "revenue"}
    columns = {
        "timestamp": pa.array([SPAN.start] * 2, pa.timestamp("us", "UTC")),
        "value": pa.array(values),
        "currency": pa.array(["EUR"] * 2),
        **{name: pa.array([text] * 2) for name, text in texts.items()},
    }
    file = str(tmp_path / "events.parquet")
    pq.write_table(pa.table(columns), file)
    daily = next(a for a in AGGREGATES if a.name == "analytics_revenue_daily")
    with pytest.raises(AnalyticsError, match=message):
        compute_with_duckdb(daily, [file], SPAN)


@pytest.mark.endurance
def test_the_job_for_spark_computes_every_aggregate_from_the_archive_as_it_is_stored(
    connection: WatchedConnection, tmp_path: Path
) -> None:
    pyspark_sql = pytest.importorskip("pyspark.sql", reason="the extra 'engines' is not installed")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java")
    builder = pyspark_sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    session = builder.config("spark.sql.shuffle.partitions", "1").getOrCreate()
    archive = open_archive(get_settings())
    events = session.read.parquet(*archive.files)
    for aggregate in AGGREGATES:
        rows = [
            tuple(v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for v in row)
            for row in spark_job.compute_with_spark(session, events, aggregate, SPAN).collect()
        ]
        assert in_order(rows) == in_order(stored(connection, aggregate)), aggregate.name
    session.stop()

    output = tmp_path / "revenue"
    submit = [
        str(Path(sys.executable).parent / "spark-submit"),
        "--master",
        "local[1]",
        "--conf",
        "spark.sql.shuffle.partitions=1",
    ]
    asked = [str(spark_job.__file__), "analytics_revenue_monthly", "--archive", archive.uri]
    asked += ["--start", "2023-01-01", "--end", "2023-03-01"]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(
        [*submit, *asked, "--output", str(output)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    import pyarrow.parquet as pq

    monthly = next(a for a in AGGREGATES if a.name == "analytics_revenue_monthly")
    written = [tuple(row.values()) for row in pq.read_table(output).to_pylist()]
    assert [row[3] for row in in_order(written)] == [row[3] for row in in_order(stored(connection, monthly))]
