"""Distinct users over a chunk that is compressed in part, whichever plan the engine takes.

Before 2.29.2 TimescaleDB could lose the uncompressed rows of such a chunk in a ``count(DISTINCT ...)`` of the column
it is segmented by, when no index of the uncompressed part began with that column. Ours is segmented by company and
has such an index, and users are counted over ``user_id``, to which the faulty plan does not apply: these tests hold
it so.
"""

from collections.abc import Iterator

import pytest

from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.reconcile import reconcile
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import at

pytestmark = pytest.mark.slow

COMPANIES = 12
# Within one chunk: its first days get compressed, the last day's rows come afterwards.
EARLY = Window(at("2025-03-06T00:00"), at("2025-03-10T00:00"))
LATE = Window(at("2025-03-10T00:00"), at("2025-03-11T00:00"))
DAILY = next(a for a in AGGREGATES if a.name == "analytics_user_activity_daily")
# The plans that reach the rows through indexes are those that skip from one value to the next.
PLANS = {"as it comes": (), "by indexes": ("enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_hashagg")}


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A chunk of which four days are compressed and one is not; each company has a user more than the one before."""
    with database.connect(autocommit=True) as connection:
        _add(connection, EARLY, "early")
        fetch_row(connection, "SELECT count(compress_chunk(c)) FROM show_chunks('analytics_events') AS c")
        _add(connection, LATE, "late")
        connection.execute("ANALYZE analytics_events")
        yield connection


@pytest.mark.parametrize("plan", PLANS)
def test_users_of_a_partly_compressed_chunk_are_counted_once_and_all(connection: Connection, plan: str) -> None:
    for setting in PLANS[plan]:
        connection.execute(f"SET {setting} = off")
    expected = [(f"c{number:02}", number) for number in range(1, COMPANIES + 1)]
    late = [LATE.start, LATE.end]
    raw = (
        'SELECT company_id, count(DISTINCT user_id) FROM analytics_events WHERE "timestamp" >= %s AND "timestamp" < %s '
        "AND user_id IS NOT NULL GROUP BY 1 ORDER BY 1"
    )
    assert connection.execute(raw, late).fetchall() == expected
    # Not yet refreshed: the view counts over the events themselves.
    view = (
        "SELECT company_id, active_users FROM analytics_user_activity_daily "
        "WHERE bucket >= %s AND bucket < %s ORDER BY company_id"
    )
    assert connection.execute(view, late).fetchall() == expected
    one = 'SELECT count(DISTINCT user_id) FROM analytics_events WHERE company_id = %s AND "timestamp" >= %s'
    assert fetch_row(connection, one, ["c07", LATE.start]) == (7,)
    companies = 'SELECT count(DISTINCT company_id) FROM analytics_events WHERE "timestamp" >= %s'
    assert fetch_row(connection, companies, [LATE.start]) == (COMPANIES,)
    # From 2.26 on these come from the batches' own metadata.
    extent = (
        'SELECT company_id, count(*), min("timestamp"), max("timestamp") FROM analytics_events GROUP BY 1 ORDER BY 1'
    )
    last = at("2025-03-10T23:00")
    assert connection.execute(extent).fetchall() == [(c, 120 * n, EARLY.start, last) for c, n in expected]
    both = Window(EARLY.start, LATE.end)
    refresh(connection, DAILY, both)
    assert connection.execute(view, late).fetchall() == expected
    proof = reconcile(connection, DAILY, both)
    assert (proof.agrees, proof.stored_rows) == (True, 5 * COMPANIES)


def test_an_index_of_the_uncompressed_rows_begins_with_what_chunks_are_segmented_by(connection: Connection) -> None:
    segment_by, columns = fetch_row(
        connection,
        "SELECT (SELECT segmentby FROM timescaledb_information.hypertable_compression_settings "
        "        WHERE hypertable = 'analytics_events'::regclass), "
        "    (SELECT array_agg(a.attname::text) FROM pg_index AS i "
        "     JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] "
        "     WHERE i.indrelid = 'analytics_events'::regclass)",
    )
    assert segment_by == "company_id"
    assert segment_by in columns


def _add(connection: Connection, window: Window, prefix: str) -> None:
    connection.execute(
        'INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category) '
        "SELECT gen_random_uuid(), at, 'c' || lpad(company::text, 2, '0'), %s || n, 'user.login', 'user_activity' "
        "FROM generate_series(1, %s) AS company, generate_series(1, company) AS n, "
        "    generate_series(%s::timestamptz, %s::timestamptz - interval '1 hour', interval '1 hour') AS at",
        [f"{prefix}-", COMPANIES, window.start, window.end],
    )
