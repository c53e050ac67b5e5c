"""``db refresh``, ``compress``, ``decompress`` and ``explain``: what they do by hand, and say before and after."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main, maintenance
from analytics_pipeline.metrics.tables import REVENUE_METRICS, close_metric
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.chunks import Chunk, chunks_of, compress
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at

pytestmark = pytest.mark.slow

MARCH = Window(at("2025-03-01T00:00"), at("2025-04-01T00:00"))
DAY = Window(at("2025-03-05T00:00"), at("2025-03-06T00:00"))


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["db", *arguments])


def test_a_refresh_by_hand_says_what_was_stale_and_what_is_stale_above_it(connection: Connection) -> None:
    add_event(connection, "2025-03-05T10:00")
    for granularity in Granularity:
        for aggregate in (a for a in AGGREGATES if a.granularity is granularity):
            refresh(connection, aggregate, MARCH)
    close_metric(connection, REVENUE_METRICS, Granularity.DAY, DAY, "EUR")
    add_event(connection, "2025-03-05T11:30", value="5.00")

    hours = ["--start", "2025-03-05", "--end", "2025-03-06"]
    result = _call("refresh", "analytics_revenue_hourly", *hours)
    assert result.exit_code == 0, result.output
    stale, done, above = result.output.splitlines()
    assert stale == "stale  2025-03-05 11:30:00 to 2025-03-05 11:30:00 UTC"
    assert "One range was stale; analytics_revenue_hourly holds 2 rows for 2 events" in done
    assert above.startswith("Stale above it: analytics_revenue_daily")
    assert above.endswith("analytics-pipeline close --start 2025-03-01T00:00 --end 2025-04-01")

    # The level above it: the closed figures of the day are stale by that, as after a close.
    report = json.loads(_call("refresh", "analytics_revenue_daily", *hours, "--json").output)
    assert (report["rows"], report["events"]) == (1, 2)
    assert {"analytics_revenue_monthly", "revenue_metrics"} <= set(report["staleAbove"])
    assert "Nothing was stale" in _call("refresh", "analytics_revenue_daily", *hours).output


def test_a_refresh_by_hand_never_reaches_behind_the_horizon_or_into_half_a_bucket(connection: Connection) -> None:
    add_event(connection, "2025-03-05T10:00")
    refresh(connection, AGGREGATES[0], MARCH)
    stored = connection.execute("TABLE analytics_revenue_hourly").fetchall()
    connection.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-03-20')")
    result = _call("refresh", "analytics_revenue_hourly", "--month", "2025-03")
    assert result.exit_code == 1
    assert "Ask for a window that starts at 2025-03-20 00:00 UTC or later" in result.output
    result = _call("refresh", "analytics_revenue_daily", "--start", "2025-03-21T06:00", "--end", "2025-03-22")
    assert result.exit_code == 1
    assert "use [2025-03-21T00:00Z, 2025-03-22T00:00Z)" in result.output
    assert connection.execute("TABLE analytics_revenue_hourly").fetchall() == stored
    # What it says to close can be closed.
    add_event(connection, "2025-03-25T10:00")
    result = _call("refresh", "analytics_revenue_hourly", "--start", "2025-03-25", "--end", "2025-03-26")
    assert "close --start 2025-03-20T00:00 --end 2025-04-01" in result.output


def test_chunks_are_compressed_and_decompressed_one_by_one_and_what_an_interruption_leaves_is_done_next_time(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a server the policy would compress them meanwhile.
    connection.execute(
        "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs "
        "WHERE proc_name = 'policy_compression'"
    )
    for day in (3, 12, 20):
        add_event(connection, f"2025-03-{day:02}T10:00")
    before = connection.execute("SELECT event_id FROM analytics_events ORDER BY 1").fetchall()
    chunks = chunks_of(connection, MARCH)
    assert len(chunks) == 3

    refused = _call("compress", "--month", "2025-03")
    assert refused.exit_code == 1
    assert "no terminal to ask at" in refused.output
    assert chunks_of(connection, MARCH) == chunks

    def interrupted(session: Connection, chunk: Chunk) -> Chunk:
        if chunk.name == chunks[1].name:
            raise KeyboardInterrupt
        return compress(session, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(maintenance, "compress", interrupted)
        assert _call("compress", "--month", "2025-03", "--yes").exit_code != 0
    assert [chunk.is_compressed for chunk in chunks_of(connection, MARCH)] == [True, False, False]

    done = _call("compress", "--month", "2025-03", "--yes")
    assert done.exit_code == 0, done.output
    sizes = sum(chunk.bytes for chunk in chunks[1:])
    assert done.output.splitlines()[-1].startswith(f"Compressed: 2 of 3 chunks, {sizes / 1024:.1f} kB before, ")
    assert "All 3 chunks are compressed." in _call("compress", "--month", "2025-03", "--yes").output

    # Old enough for the policy of 30 days, all of them.
    report = json.loads(_call("decompress", "--month", "2025-03", "--yes", "--json").stdout)
    assert [chunk["compressedAgain"] for chunk in report["chunks"]] == [True, True, True]
    assert not any(chunk.is_compressed for chunk in chunks_of(connection, MARCH))
    assert connection.execute("SELECT event_id FROM analytics_events ORDER BY 1").fetchall() == before

    said = "The compression policy compresses 1 of them again in its next run."
    week = ["--start", "2025-03-03", "--end", "2025-03-04", "--yes"]
    _call("compress", *week)
    assert said in _call("decompress", *week).output
    _call("compress", *week)
    assert _call("policies", "--compress-after", "never", "--yes").exit_code == 0
    assert said not in _call("decompress", *week).output


def test_explain_counts_the_chunks_that_a_named_query_scans_of_those_there_are(connection: Connection) -> None:
    for month in range(1, 7):
        add_event(connection, f"2025-{month:02}-05T10:00")
    connection.execute("SELECT compress_chunk(c) FROM show_chunks('analytics_events', older_than => '2025-04-01') AS c")
    window = ["start=2025-03-01", "end=2025-04-01"]
    report = json.loads(_call("explain", "backup_events", *window, "--json").output)
    assert report["chunks"] == [{"relation": "analytics_events", "chunks": 6, "scanned": 1}]
    assert any("chunk" in line for line in report["plan"])
    result = _call("explain", "backup_events", *window, "--analyze")
    assert "analytics_events: 1 of 6 chunks are scanned." in result.output
    assert "actual time" in result.output
    # A function's chunks are in no plan: they are counted where it has run.
    figures = ["company=", "currency=EUR", "zone=UTC", "granularity=month", *window]
    assert "--analyze counts what functions read" in _call("explain", "period_figures", *figures).output
    # Nothing is refreshed: users are looked for in all events.
    assert "analytics_events: 6 of 6 chunks" in _call("explain", "period_figures", *figures, "--analyze").output


def test_explain_changes_nothing_and_says_what_it_lacks(connection: Connection) -> None:
    horizon = ["remember_horizon", "events_from=2025-03-01"]
    assert "Insert on analytics_retention_horizon" in _call("explain", *horizon).output
    result = _call("explain", *horizon, "--analyze")
    assert (result.exit_code, "remember_horizon writes" in result.output) == (1, True)
    assert connection.execute("TABLE analytics_retention_horizon").fetchall() == []
    for arguments, message in (
        (["backup_event"], "did you mean backup_events?"),
        (["backup_events", "start=2025-03-01"], "backup_events takes start=... end=..."),
        (["backup_events", "start=March", "end=2025-04-01"], "invalid input syntax for type timestamp"),
        (["backup_events", "March"], "write it like start=2025-01-01"),
        (["backup_events", "start=2025-03-01", "start=2025-04-01"], "'start' is given more than once"),
    ):
        result = _call("explain", *arguments)
        assert result.exit_code == 2
        assert message in result.output
    for options in ([], ["--analyze"]):
        result = _call("explain", "dagster_prune_checks", *options)
        assert (result.exit_code, "asked of another database (Dagster's storage" in result.output) == (1, True)
    close = ["asset=a", "start=2025-03-01", "end=2025-03-02", "run_id=r", "runs={r}"]
    assert "the program fills in a part of it" in _call("explain", "partitions_close", *close).output
    assert [_call("explain", name).exit_code for name in ("backup_jobs", "explain_chunks")] == [0, 0]
    assert "backup_events start= end=" in _call("explain").output.splitlines()
