"""Answers beside plain SQL for the same figures over the same relations, with the year closed and with nothing closed.

A closed month or year of the calendar is read as it is stored, other periods are computed. Both in processor time of
the server's process, where that can be read, and without parallel workers. Before a whole answer is measured, each
figure of it is compared with what plain SQL says (revenue_answer.sql). While nothing is closed plain SQL knows no
subscriptions, and gives six figures alone.
Run it on a server: ANALYTICS_DATABASE_URL=postgresql://... python benchmarks/figures.py [--events N] [--again]
A database is made there for each size and dropped again; what was measured before is kept in benchmarks/results.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path

from _database import database, server_clock, server_url
from _history import close, fill
from _results import Results
from psycopg.rows import dict_row

from analytics_pipeline.database import connect
from analytics_pipeline.metrics.answers import revenue_answer
from analytics_pipeline.metrics.periods import previous_window
from analytics_pipeline.metrics.revenue import mrr_figures, revenue_metrics
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window

PERIODS = {
    "a month": Window.of_dates(date(2025, 10, 1), date(2025, 10, 31)),
    "a year": Window.of_dates(date(2025, 1, 1), date(2025, 12, 31)),
}
# None that is stored.
OTHER_PERIODS = {
    "31 days from the 10th on": Window.of_dates(date(2025, 10, 10), date(2025, 11, 9)),
    "364 days": Window.of_dates(date(2025, 1, 2), date(2025, 12, 31)),
}
MANY_EVENTS = 1_000_000
DAYS = Window.of_dates(date(2025, 9, 1), date(2025, 10, 31))

_WHOLE_ANSWER = (Path(__file__).parent / "revenue_answer.sql").read_text()
# Quotients are rounded at other places than the program's.
_SAME = Decimal("1e-9")
_REVENUE = """
SELECT
    (SELECT sum(r.total_value) FROM analytics_revenue_daily AS r WHERE r.bucket >= %(start)s AND r.bucket < %(end)s),
    (SELECT -sum(r.refund_value) FROM analytics_revenue_daily AS r WHERE r.bucket >= %(start)s AND r.bucket < %(end)s),
    (SELECT sum(r.total_value) FROM analytics_revenue_daily AS r
     WHERE r.bucket >= %(before)s AND r.bucket < %(start)s),
    (SELECT sum(b.total_value) FROM analytics_billing_daily AS b WHERE b.bucket >= %(start)s AND b.bucket < %(end)s),
    (SELECT (sum(s.monthly_amount), count(DISTINCT (s.company_id, s.user_id))) FROM analytics_subscriptions AS s
     WHERE s.valid_from < %(end)s AND (s.valid_to IS NULL OR s.valid_to >= %(end)s) AND s.monthly_amount > 0),
    (SELECT count(*) FROM analytics_users AS u WHERE u.first_seen < %(end)s)
"""
_USERS = """
WITH active AS MATERIALIZED (
    SELECT DISTINCT e.company_id, e.user_id, date_trunc('day', e."timestamp", 'UTC') AS day
    FROM analytics_events AS e
    WHERE e."timestamp" >= %(start)s::timestamptz - interval '1 day' AND e."timestamp" < %(end)s
      AND e.category IN ('revenue', 'user_activity', 'crypto') AND e.user_id IS NOT NULL
),
counted AS (
    SELECT a.company_id, a.day, count(*) AS active, 0 AS new, 0 AS churned FROM active AS a GROUP BY 1, 2
    UNION ALL
    SELECT u.company_id, date_trunc('day', u.first_seen, 'UTC'), 0, count(*), 0 FROM analytics_users AS u GROUP BY 1, 2
    UNION ALL
    SELECT b.company_id, b.day + interval '1 day', 0, 0, count(*)
    FROM active AS b
    LEFT JOIN active AS t
        ON t.company_id = b.company_id AND t.user_id = b.user_id AND t.day = b.day + interval '1 day'
    WHERE t.user_id IS NULL
    GROUP BY 1, 2
),
per_day AS (
    SELECT c.company_id, c.day, sum(c.active) AS active, sum(c.new) AS new, sum(c.churned) AS churned
    FROM counted AS c
    GROUP BY 1, 2
)
SELECT p.*, sum(p.new) OVER (PARTITION BY p.company_id ORDER BY p.day) AS total
FROM per_day AS p
"""
_USER_ROWS = (
    "SELECT * FROM analytics_user_metrics_rows('day', (%(start)s AT TIME ZONE 'UTC')::date, "
    "(%(end)s AT TIME ZONE 'UTC')::date, 'UTC', 'EUR', 2) AS f WHERE f.company_id IS NOT NULL"
)


@dataclass(frozen=True)
class Line:
    """Something to be measured, and the plain SQL for the same."""

    name: str
    is_closed: bool
    ours: Callable[[Connection], object]
    limit: Callable[[Connection], object]

    def __str__(self) -> str:
        """Return what is measured, and in which state."""
        return f"{self.name}, {'closed' if self.is_closed else 'nothing closed'}"


def main() -> None:
    """Measure every line that has not been measured, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--subscriptions", type=int, help="Of every size as many; else a fiftieth of the events.")
    parser.add_argument("--rounds", type=int, default=3, help="With nothing closed one above a million events.")
    parser.add_argument("--again", action="store_true", help="Measure again what was measured before.")
    arguments = parser.parse_args()
    server = server_url()
    results = Results("figures", again=arguments.again)
    print("   ratio         ours      plain SQL")
    sizes = []
    for events in arguments.events:
        subscriptions = arguments.subscriptions or events // 50
        sizes.append(f"{events:,} events, {subscriptions:,} subscriptions")
        measure(server, events, subscriptions, results, arguments.rounds)
    for fewer, more in pairwise(sizes):
        for line in lines():
            beside = f"{line}, {more} beside {fewer}"
            results.keep(beside, results.ours(f"{line}, {more}"), results.ours(f"{line}, {fewer}"))
            results.show(beside)


def measure(server: str, events: int, subscriptions: int, results: Results, rounds: int) -> None:
    """Measure one size, first with nothing closed."""
    names = {line: f"{line}, {events:,} events, {subscriptions:,} subscriptions" for line in lines()}
    if all(results.has(name) for name in names.values()):
        for name in names.values():
            results.show(name)
        return
    with database(server), connect(autocommit=True) as connection:
        fill(connection, events, subscriptions=subscriptions)
        connection.execute("VACUUM ANALYZE")
        connection.execute("SET max_parallel_workers_per_gather = 0")
        for is_closed in (False, True):
            if is_closed:
                close(connection)
                connection.execute("VACUUM ANALYZE")
                for window in (PERIODS | OTHER_PERIODS).values():
                    compare_answers(connection, window)
            for line, name in names.items():
                if line.is_closed is is_closed:
                    results.compare(
                        name,
                        partial(line.ours, connection),
                        partial(line.limit, connection),
                        # What takes half a minute is measured once.
                        rounds=rounds if is_closed or events <= MANY_EVENTS else 1,
                        clock=server_clock(connection),
                    )


def lines() -> Iterator[Line]:
    """Give every line, those with nothing closed first."""
    for is_closed in (False, True):
        for period, window in (PERIODS | OTHER_PERIODS if is_closed else PERIODS).items():
            yield Line(
                f"revenue figures over all companies, {period}",
                is_closed,
                lambda c, w=window: revenue_metrics(c, None, w, "EUR", as_stored=True),
                lambda c, w=window: plain_revenue(c, w),
            )
            yield Line(
                f"whole revenue answer over all companies, {period}, beside six figures",
                is_closed,
                lambda c, w=window: revenue_answer(c, None, w, "EUR"),
                lambda c, w=window: plain_revenue(c, w),
            )
            if is_closed:
                yield Line(
                    f"whole revenue answer over all companies, {period}",
                    is_closed,
                    lambda c, w=window: revenue_answer(c, None, w, "EUR"),
                    lambda c, w=window: plain_answer(c, w),
                )
    yield Line(
        "user metrics of 61 days of each company",
        is_closed=True,
        ours=lambda c: _all(c, _USER_ROWS, DAYS),
        limit=plain_users,
    )


def plain_revenue(connection: Connection, window: Window) -> None:
    """Ask for the six figures of the revenue answer without any function of ours."""
    before = previous_window(connection, window)
    connection.execute(_REVENUE, {"start": window.start, "end": window.end, "before": before.start}).fetchall()


def plain_answer(connection: Connection, window: Window) -> dict[str, Decimal | int | None]:
    """Ask for all figures of the revenue answer without any function of ours."""
    before = previous_window(connection, window)
    is_month = window.is_aligned(Granularity.MONTH) and window.count(Granularity.MONTH) == 1
    year_before = "SELECT period_start, period_end FROM analytics_year_before(%s, %s)"
    year_start, year_end = fetch_row(connection, year_before, [window.start, window.end])
    parameters = {
        "start": window.start,
        "end": window.end,
        "before": before.start,
        "year_start": year_start,
        "year_end": year_end,
        "currency": "EUR",
        "is_month": is_month,
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_WHOLE_ANSWER, parameters).fetchall()[0]


def compare_answers(connection: Connection, window: Window) -> None:
    """Raise ``AssertionError`` where a figure of plain SQL is another than the answer's."""
    plain = plain_answer(connection, window)
    (mrr,) = mrr_figures(connection, [(None, window)], "EUR", as_stored=True)
    for part in (revenue_metrics(connection, None, window, "EUR", as_stored=True), mrr.movements, mrr.rates):
        for field in fields(part):
            ours, theirs = getattr(part, field.name), plain[field.name]
            assert (ours is None) == (theirs is None), (window, field.name, ours, theirs)
            assert ours is None or abs(Decimal(ours) - Decimal(theirs)) < _SAME, (window, field.name, ours, theirs)


def plain_users(connection: Connection) -> None:
    """Ask for total, active, new and churned users of each company's days."""
    _all(connection, _USERS, DAYS)


def _all(connection: Connection, query: str, window: Window) -> None:
    connection.execute(query, {"start": window.start, "end": window.end}).fetchall()


if __name__ == "__main__":
    main()
