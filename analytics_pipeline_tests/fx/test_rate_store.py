"""Loading is idempotent, whole, and tells the figures which days to look at again."""

import threading
import time
from datetime import UTC, date, datetime

import psycopg
import pytest

from analytics_pipeline.fx import rate_store as load
from analytics_pipeline.fx.csv_rates import Reading, read_rates
from analytics_pipeline.fx.rate_store import ChangedSpan, LoadedRates, changed_spans, store_rates
from analytics_pipeline.metrics.tables import METRIC_TABLES
from analytics_pipeline.timescale.connection import Connection, lock_changes
from analytics_pipeline_tests.conftest import SERVER_URL, Database

Counts = tuple[int, int, int, int, int]


def _reading(*lines: str, name: str = "rates.csv") -> Reading:
    return read_rates("\n".join(["rate_date,base,quote,rate", *lines]).encode(), name)


def _counts(loaded: LoadedRates) -> Counts:
    return loaded.read, loaded.new, loaded.changed, loaded.unchanged, loaded.rejected


def _stored(connection: Connection) -> list[tuple[str, str, str, str, str]]:
    return connection.execute(
        "SELECT rate_date::text, base, quote, rate::text, source FROM analytics_fx_rates ORDER BY 1, 2, 3"
    ).fetchall()


def _changes(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT company_id, changed_from, changed_until, granularity, cause FROM analytics_metric_changes "
        "ORDER BY change_id"
    ).fetchall()


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_loading_again_changes_nothing_and_another_rate_takes_the_place(database: Database) -> None:
    lines = ["2025-01-30,EUR,USD,1.0396", "2025-01-31,EUR,USD,1.039300000000000001", "2025-01-31,BTC,EUR,100000"]
    with database.connect(autocommit=True) as connection:
        assert _counts(store_rates(connection, [_reading(*lines, "no")])) == (4, 3, 0, 0, 1)
        before = _stored(connection)
        assert ("2025-01-31", "EUR", "USD", "1.039300000000000001", "rates.csv") in before
        changes = _changes(connection)
        noted = connection.execute("SELECT DISTINCT metrics FROM analytics_metric_changes").fetchall()
        assert noted == [([table.metric for table in METRIC_TABLES if table.converts],)]
        repeated = [line.replace("1.0396", "1.03960") for line in lines]
        assert _counts(store_rates(connection, [_reading(*repeated, "no", name="b.csv")])) == (4, 0, 0, 3, 1)
        assert (_stored(connection), _changes(connection)) == (before, changes)
        loaded = store_rates(connection, [_reading("2025-01-30,EUR,USD,1.04", "2025-02-03,EUR,USD,1.03", name="c")])
        assert _counts(loaded) == (2, 1, 1, 0, 0)
        assert (loaded.first, loaded.last) == (date(2025, 1, 30), date(2025, 2, 3))
        assert ("2025-01-30", "EUR", "USD", "1.04", "c") in _stored(connection)


def test_batches_of_any_size_store_the_same(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_BATCH_RATES", 2)
    lines = [f"2025-01-0{day},{pair},1.{day}" for day in range(1, 6) for pair in ("EUR,USD", "EUR,CHF")]
    with database.connect(autocommit=True) as connection:
        assert _counts(store_rates(connection, [_reading(*lines[::-1])])) == (10, 10, 0, 0, 0)
        assert [",".join(row[:4]) for row in _stored(connection)] == sorted(lines)
        assert len(_changes(connection)) == 1


def test_of_two_sources_the_later_one_counts_and_what_is_rejected_is_kept(database: Database) -> None:
    first = _reading("2025-01-30,EUR,USD,1.1", "2025-01-30,EUR,XX!,1", name="a")
    with database.connect(autocommit=True) as connection:
        loaded = store_rates(connection, [first, _reading("2025-01-30,EUR,USD,1.2", name="b")])
        assert _counts(loaded) == (3, 1, 1, 0, 1)
        assert _stored(connection) == [("2025-01-30", "EUR", "USD", "1.2", "b")]
        rejects = connection.execute("SELECT source, line_number, record FROM analytics_ingest_rejects").fetchall()
        assert rejects == [("a", 3, "2025-01-30,EUR,XX!,1")]


def test_a_load_that_fails_stores_nothing(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "ALTER TABLE analytics_fx_rates ADD CONSTRAINT no_francs CHECK (quote <> 'CHF'), "
            "ADD CONSTRAINT no_yen CHECK (quote <> 'JPY')"
        )
        with pytest.raises(psycopg.errors.CheckViolation):
            store_rates(connection, [_reading("2025-01-30,EUR,USD,1"), _reading("2025-01-30,EUR,CHF,1", "no")])
        for table in ("analytics_fx_rates", "analytics_metric_changes", "analytics_ingest_rejects"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        connection.execute("ALTER TABLE analytics_fx_rates DROP CONSTRAINT no_francs, DROP CONSTRAINT no_yen")


def test_the_days_whose_figures_may_have_moved_are_noted_as_spans(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        lines = ["2025-01-30,EUR,USD,1.1", "2025-01-31,EUR,USD,1.2", "2025-02-08,EUR,CHF,0.9", "2025-03-01,EUR,USD,1.3"]
        store_rates(connection, [_reading(*lines)])
        assert _changes(connection) == [
            # A rate serves 7 days after its own; spans that meet are one.
            (None, _day("2025-01-30"), _day("2025-02-16"), None, "rates EUR/CHF, EUR/USD"),
            (None, _day("2025-03-01"), _day("2025-03-09"), None, "rates EUR/USD"),
        ]
        lines[1] = "2025-01-31,EUR,USD,1.21"
        store_rates(connection, [_reading(*lines)])
        assert _changes(connection)[2:] == [(None, _day("2025-01-31"), _day("2025-02-08"), None, "rates EUR/USD")]


def test_spans_that_do_not_meet_stay_apart_and_many_pairs_are_counted() -> None:
    first, last = date(2025, 1, 1), date(2025, 1, 10)
    pairs = {"EUR/USD", "EUR/CHF", "EUR/SEK", "EUR/NOK", "EUR/DKK"}
    assert changed_spans({}) == []
    spans = changed_spans({last: {"BTC/EUR"}, first: pairs})
    assert spans == [
        ChangedSpan(first, date(2025, 1, 9), frozenset(pairs)),
        ChangedSpan(last, date(2025, 1, 18), frozenset({"BTC/EUR"})),
    ]
    assert spans[0].cause == "rates EUR/CHF, EUR/DKK, EUR/NOK and 2 more pairs"


@pytest.mark.faults
@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session")
def test_a_load_waits_for_whoever_changes_figures_and_sees_what_they_stored(database: Database) -> None:
    loaded: list[LoadedRates] = []

    def run() -> None:
        with database.connect(autocommit=True) as connection:
            loaded.append(store_rates(connection, [_reading("2025-01-30,EUR,USD,1.1")]))

    thread = threading.Thread(target=run)
    with database.connect(autocommit=True) as other, database.connect(autocommit=True) as watcher:
        with other.transaction():
            lock_changes(other)
            thread.start()
            waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
            while thread.is_alive() and watcher.execute(waiting).fetchone() != (True,):
                time.sleep(0.01)
            other.execute(
                "INSERT INTO analytics_fx_rates (rate_date, base, quote, rate, source) "
                "VALUES ('2025-01-30', 'EUR', 'USD', 1.1, 'x')"
            )
        thread.join()
    assert _counts(loaded[0]) == (1, 0, 0, 1, 0)
