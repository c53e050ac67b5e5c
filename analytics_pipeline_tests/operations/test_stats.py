"""How the database stands, in the figures that monitoring and people read."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict

from analytics_pipeline.cli import main
from analytics_pipeline.database_urls import url_environment
from analytics_pipeline.operations.stats import SECTIONS, read_stats
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.conftest import Database, migrated_database
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.metrics.closing import close, days


@pytest.fixture(scope="module")
def connection(embedded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """Two months of events, the first of them compressed and closed; one event came late."""
    with (
        migrated_database(embedded_home, tmp_path_factory.mktemp("stats")) as database,
        database.connect(autocommit=True) as connection,
    ):
        # It would compress the others at any moment.
        connection.execute("SELECT remove_compression_policy('analytics_events')")
        for day in range(1, 28):
            add_event(connection, f"2025-01-{day:02}T10:00")
            add_event(connection, f"2025-02-{day:02}T10:00")
        close(connection, days("2025-01-01", "2025-01-31"))
        (chunk,) = fetch_row(connection, "SELECT show_chunks('analytics_events') ORDER BY 1 LIMIT 1")
        connection.execute("SELECT compress_chunk(%s::regclass)", [chunk])
        add_event(connection, "2025-01-20T12:00")
        connection.execute(
            "INSERT INTO analytics_ingest_rejects (source, line_number, kind, reason, record, record_hash) "
            "VALUES ('a.csv', 1, 'no company', 'no company', 'x', 'x')"
        )
        connection.execute(
            "INSERT INTO analytics_ingest_reject_counts (records_hash, source, kind, records) "
            "VALUES ('y', 'a.csv', 'no company', 41)"
        )
        yield connection


@pytest.mark.slow
def test_the_figures_are_those_of_the_database(connection: Connection) -> None:
    stats = read_stats(connection)
    assert tuple(stats) == SECTIONS
    (database,) = stats["database"]
    assert (database["total_bytes"],) == fetch_row(connection, "SELECT pg_database_size(current_database())")
    relations = {row["relation"]: row for row in stats["relations"]}
    assert relations.keys() == {"analytics_events", *(aggregate.name for aggregate in AGGREGATES)}
    events = relations["analytics_events"]
    chunks = stats["chunks"]
    assert (events["chunks"], events["compressed_chunks"]) == (len(chunks), 1)
    assert [chunk["is_compressed"] for chunk in chunks].count(True) == 1
    assert (events["total_bytes"],) == fetch_row(connection, "SELECT hypertable_size('analytics_events')")
    assert events["bytes_after_compression"] > 0
    ratio = Decimal(events["bytes_before_compression"]) / events["bytes_after_compression"]
    assert abs(events["compression_ratio"] - ratio) < Decimal("0.01")
    # The newest event is of 27 February, and January alone is stored.
    lag = {row["aggregate"]: row for row in stats["lag"]}
    assert lag["analytics_revenue_daily"]["lag"] >= timedelta(days=26)
    assert (lag["analytics_revenue_hourly"]["stale_ranges"], lag["analytics_crypto_daily"]["stale_ranges"]) == (1, 0)
    assert {row["period"]: row["rejected"] for row in stats["recent"]}["last day"] == 42
    jobs = {row["relation"]: row["procedure"] for row in stats["jobs"]}
    assert jobs == dict.fromkeys((aggregate.name for aggregate in AGGREGATES), "policy_refresh_continuous_aggregate")


def test_partitions_are_stale_that_an_event_came_late_into(connection: Connection) -> None:
    query = "SELECT asset, partitions, stretches, first_start, last_end FROM analytics_operations_stale"
    with connection.transaction(force_rollback=True):
        connection.execute(
            "INSERT INTO analytics_partitions (asset, window_start, window_end, closed_at) "
            "SELECT 'analytics_revenue_daily', d, d + interval '1 day', now() "
            "FROM generate_series('2025-01-18'::timestamptz, '2025-01-24', '1 day') AS d"
        )
        shown = connection.execute(query).fetchall()
        with connection.transaction(force_rollback=True):
            connection.execute("UPDATE analytics_partitions SET is_final = true")
            past_change = connection.execute(query).fetchall()
        # No sensor has marked them as final yet, and that their events were dropped is logged as a change of them.
        connection.execute(
            "SELECT add_retention_policy('analytics_events', interval '1 day', initial_start => '2100-01-01Z')"
        )
        connection.execute("SELECT drop_chunks('analytics_events', '2025-02-01Z'::timestamptz)")
        expired = connection.execute(query).fetchall()
    assert shown == [("analytics_revenue_daily", 1, 1, at("2025-01-20T00:00"), at("2025-01-21T00:00"))]
    assert (past_change, expired) == ([], [])


def test_statements_are_shown_without_their_values_where_the_server_counts_them(connection: Connection) -> None:
    command = ["stats", "--section", "queries"]
    assert "pg_stat_statements is not installed" in CliRunner().invoke(main, command).stdout
    available = "SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements'"
    if connection.execute(available).rowcount == 0:
        pytest.skip("pg_stat_statements is not on this server")
    connection.execute("CREATE EXTENSION pg_stat_statements")
    try:
        (state,) = fetch_row(connection, "SELECT analytics_operations_statements()")
        if state == "counted":
            forget = "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()"
            connection.execute(forget)
            connection.execute("SELECT count(*) FROM analytics_users WHERE company_id = 'a secret'")
            connection.execute("DO $$ BEGIN PERFORM 'a secret'; END $$")
        shown = [row["query"] for row in read_stats(connection)["queries"]]
        if state == "counted":
            assert any("analytics_users WHERE company_id = $" in query for query in shown)
            assert "a secret" not in str(shown)
        else:
            assert (state, shown) == ("not loaded", [])
            assert "pg_stat_statements is not loaded" in CliRunner().invoke(main, command).stdout
    finally:
        connection.execute("DROP EXTENSION pg_stat_statements")


def test_no_view_stands_in_the_way_of_an_update_of_timescaledb_or_of_a_new_aggregate(connection: Connection) -> None:
    rows = connection.execute(
        """
        SELECT DISTINCT v.relname::text, pg_describe_object(d.refclassid, d.refobjid, 0)
        FROM pg_class AS v
        JOIN pg_rewrite AS r ON r.ev_class = v.oid
        JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        LEFT JOIN pg_class AS c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
        WHERE v.relkind = 'v' AND v.relname LIKE 'analytics\\_%'
          AND v.relname NOT IN (SELECT a.view_name FROM timescaledb_information.continuous_aggregates AS a)
          AND (
              c.relname IN (SELECT a.view_name FROM timescaledb_information.continuous_aggregates AS a)
              OR EXISTS (
                  SELECT FROM pg_depend AS e
                  WHERE e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e'
              )
          )
        """
    ).fetchall()
    assert rows == []


@pytest.mark.slow
def test_the_command_prints_tables_and_json_of_the_same(connection: Connection) -> None:
    found = json.loads(CliRunner().invoke(main, ["stats", "--json"]).stdout)
    (events,) = (row for row in found["relations"] if row["relation"] == "analytics_events")
    assert events["compressedChunks"] == 1
    assert isinstance(found["lag"][0]["lag"], float | int)
    text = CliRunner().invoke(main, ["stats", "--section", "lag", "--section", "outbox"]).stdout
    assert "analytics_revenue_daily" in text
    assert "Outbox: none" in text
    assert "Jobs of policies" not in text


@pytest.mark.slow
def test_a_shell_on_the_database_gets_its_address_and_password_as_nobody_sees_them(
    database: Database, tmp_path: Path
) -> None:
    """What psql is given is shown by a stand-in for it."""
    url = "postgresql://someone:hunter%2F2@127.0.0.1:1/books?sslmode=require"
    psql = tmp_path / "psql"
    psql.write_text('#!/bin/sh\necho "$@"\nenv\n')
    psql.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin", "ANALYTICS_DATABASE_URL": url}
    command = [sys.executable, "-m", "analytics_pipeline", "db", "psql", "-c", "SELECT 1", "--csv"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    first, *variables = result.stdout.splitlines()
    assert first == "-c SELECT 1 --csv"
    shown = set(variables)
    assert {"PGHOST=127.0.0.1", "PGPORT=1", "PGUSER=someone", "PGPASSWORD=hunter/2", "PGDATABASE=books"} <= shown
    assert "PGSSLMODE=require" in shown
    assert url_environment(database.url)["PGHOST"] == conninfo_to_dict(database.url)["host"]
    psql.unlink()
    environment["PATH"] = str(tmp_path)
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (
        1,
        "Error: There is no psql on this machine: install PostgreSQL's client programs.\n",
    )
