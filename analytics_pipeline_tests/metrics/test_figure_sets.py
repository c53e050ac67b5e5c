"""Figures of many periods and companies in one call: each is what it is by itself, and what is read doesn't grow."""

from datetime import UTC, datetime, timedelta
from decimal import localcontext
from random import Random
from typing import Any
from uuid import UUID

import pytest

from analytics_pipeline.events.bulk_load import EventLoader
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import close_inputs, days
from analytics_pipeline_tests.metrics.subscription_changes import a_change, as_events, clear, load

COMPANIES = ("acme", "beta", "gamma")
MONTHS = days("2025-01-01", "2025-02-28")
# What of them adds up over companies.
SUMS = {
    "analytics_revenue_figures": (
        *("total_revenue", "previous_revenue", "invoiced", "refunds", "mrr", "arr", "paying_customers", "total_users"),
    ),
    "analytics_mrr_figures": (
        *("start_mrr", "new", "reactivation", "expansion", "contraction", "churn", "fx", "end_mrr"),
    ),
}

# A company or all, from when to when, and the currency.
Row = tuple[str | None, datetime, datetime, str]


def asked(connection: Connection, function: str, rows: list[Row]) -> list[dict[str, Any]]:
    """Return what the function gives for each row, without its place."""
    companies, starts, ends, currencies = map(list, zip(*rows, strict=True))
    cursor = connection.execute(
        f"SELECT * FROM {function}(ARRAY("
        "SELECT ROW(w.a, w.b, w.c, w.d, NULL)::analytics_figure_period "
        "FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[]) "
        "WITH ORDINALITY AS w (a, b, c, d, n) ORDER BY w.n)) ORDER BY place",
        [companies, starts, ends, currencies],
    )
    names = [column.name for column in cursor.description or ()]
    return [{name: value for name, value in zip(names, row, strict=True) if name != "place"} for row in cursor]


@pytest.fixture
def filled(rates: Connection) -> Connection:
    """Three companies that pay, invoice and change subscriptions at any second, in four currencies."""
    clear(rates)
    chance = Random(11)  # noqa: S311 - the same data every time
    life = []
    for company in COMPANIES:
        for _ in range(30):
            when = f"{_instant(chance):%Y-%m-%dT%H:%M:%S}"
            currency = chance.choice(["EUR", "USD", "CHF", "BTC"])
            what = chance.choice(["payment.received", "payment.refunded", "invoice.created"])
            value = f"{'-' if what.endswith('refunded') else ''}{chance.randint(1, 10**6)}.{chance.randint(0, 10**18)}"
            category = "billing" if what.startswith("invoice") else "revenue"
            user = f"u{chance.randint(1, 6)}"
            event = {"category": category, "company_id": company, "user_id": user, "value": value, "currency": currency}
            add_event(rates, when, what, **event)
            status = chance.choice(["active", "active", "paused", "ended"])
            change = a_change(when[5:], "changed", status, name=f"{company} {user}", user=user, price=value.lstrip("-"))
            life.append((company, change._replace(currency=currency)))
    changes = as_events([change for _, change in life])
    EventLoader(rates).load([e._replace(company_id=c) for e, (c, _) in zip(changes, life, strict=True)])
    return rates


def _instant(chance: Random) -> datetime:
    """Return a month's, a day's or an hour's start in January and February, or any second."""
    day = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=chance.randrange(59))
    return chance.choice(
        [
            day.replace(day=1),
            day,
            day + timedelta(hours=chance.randrange(24)),
            day + timedelta(seconds=chance.randrange(86_400)),
        ]
    )


def _rows(chance: Random) -> list[Row]:
    rows: list[Row] = []
    while len(rows) < 12:
        start, end = sorted([_instant(chance), _instant(chance)])
        if start < end:
            rows.append((chance.choice([*COMPANIES, None]), start, end, chance.choice(["EUR", "USD", "CHF"])))
    # A company of which nothing is known is asked for like any other.
    return [*rows, ("nobody", MONTHS.start, MONTHS.end, "EUR")]


@pytest.mark.slow
@pytest.mark.parametrize("function", SUMS)
def test_every_row_of_a_call_is_what_it_is_by_itself(filled: Connection, function: str) -> None:
    """Whatever the others are: over the same time, another company or currency, at any second; closed or not."""
    rows = _rows(Random(function))  # noqa: S311 - the same rows every time
    alone = [asked(filled, function, [row])[0] for row in rows]
    assert asked(filled, function, rows) == alone
    assert alone[-1]["is_empty"]
    assert sum(not figures["is_empty"] for figures in alone) > 8
    for month in MONTHS.split(Granularity.MONTH):
        close_inputs(filled, month)
    assert asked(filled, function, rows) == alone
    # Days and months of a whole company are those of the same call in any order.
    assert asked(filled, function, rows[::-1]) == alone[::-1]


@pytest.mark.parametrize("function", SUMS)
@pytest.mark.slow
def test_all_companies_together_are_the_sum_of_each_to_the_digit(filled: Connection, function: str) -> None:
    for row in [row for row in _rows(Random(3)) if row[0] is None]:  # noqa: S311
        together, *each = asked(filled, function, [row, *((company, *row[1:]) for company in COMPANIES)])
        with localcontext(prec=100):
            assert {name: together[name] for name in SUMS[function]} == {
                name: sum(figures[name] for figures in each) for name in SUMS[function]
            }


@pytest.mark.slow
def test_a_window_that_is_closed_at_once_leaves_balances_of_each_month_in_it(rates: Connection) -> None:
    january, february = MONTHS.split(Granularity.MONTH)
    load(rates, a_change("01-05", price="50"), a_change("02-10", price="70", name="s2", user="u2"))
    update_subscriptions(rates, MONTHS)
    found = "SELECT taken_at, mrr, customers FROM analytics_mrr_snapshots WHERE currency IS {} NULL ORDER BY taken_at"
    assert rates.execute(found.format("NOT")).fetchall() == [(january.end, 50, 0), (february.end, 120, 0)]
    assert rates.execute(found.format("")).fetchall() == [(january.end, 0, 1), (february.end, 0, 2)]


@pytest.mark.slow
def test_amounts_that_need_no_rate_are_one_row_and_the_others_one_a_day(filled: Connection) -> None:
    """Summed, they are what they are by the day, at any second where the period begins and ends, closed or not."""
    period = "ARRAY[ROW(NULL, '2025-01-05 03:30Z', '2025-02-20 17:45:10Z', 'EUR', NULL)]::analytics_figure_period[]"
    sums = "count(*), bool_or(day IS NOT NULL), sum(original), sum(converted), sum(refunds), sum(transactions)::int"

    def amounts(by_date: str) -> dict[tuple[str, str, str], tuple[Any, ...]]:
        found = filled.execute(
            f"SELECT company_id, figure, currency, {sums} "
            f"FROM analytics_converted_revenue({period}, {by_date}) GROUP BY 1, 2, 3"
        )
        return {row[:3]: row[3:] for row in found}

    def check() -> None:
        summed, dated = amounts("false"), amounts("true")
        assert {key: row[2:] for key, row in summed.items()} == {key: row[2:] for key, row in dated.items()}
        for (company, figure, currency), (rows, has_days, *_) in summed.items():
            of_days = dated[company, figure, currency][0]
            assert (rows, has_days) == ((1, False) if currency == "EUR" else (of_days, True))
        assert any(row[0] > 1 for key, row in dated.items() if key[2] == "EUR")

    check()
    for month in MONTHS.split(Granularity.MONTH):
        close_inputs(filled, month)
    check()


@pytest.mark.slow
def test_a_balance_counts_from_the_snapshot_before_it_until_that_is_stale(rates: Connection) -> None:
    january, february = MONTHS.split(Granularity.MONTH)
    load(rates, a_change("01-05", price="50"), a_change("02-10", price="70", name="s2", user="u2"))
    within = datetime(2025, 2, 15, tzinfo=UTC)

    def balances(until: datetime = february.end) -> tuple[int, int]:
        (figures,) = asked(rates, "analytics_mrr_figures", [("acme", february.start, until, "EUR")])
        return figures["start_mrr"], figures["end_mrr"]

    def taken() -> list[int]:
        found = rates.execute("SELECT mrr FROM analytics_mrr_snapshots WHERE currency IS NOT NULL ORDER BY taken_at")
        return [int(mrr) for (mrr,) in found]

    for month in (january, february):
        update_subscriptions(rates, month)
    assert (taken(), balances()) == ([50, 120], (50, 120))
    # Proof that it is read: with a false one the answer is false.
    rates.execute("UPDATE analytics_mrr_snapshots SET mrr = mrr + 1 WHERE taken_at = %s", [february.start])
    assert balances(until=within) == (51, 121)
    # What has a snapshot of its own needs no other.
    assert balances() == (51, 120)
    # A late change has those taken again that are after it, and only those.
    (late,) = as_events([a_change("02-20", price="30", name="s3", user="u3")])
    EventLoader(rates).load([late._replace(event_id=UUID(int=99))])
    update_subscriptions(rates, february)
    assert (taken(), balances()) == ([51, 151], (51, 151))
    update_subscriptions(rates, january)
    rates.execute("UPDATE analytics_subscriptions SET price = price")
    assert (taken(), balances()) == ([], (50, 150))


@pytest.mark.slow
def test_a_day_reads_as_many_subscriptions_whatever_the_history(rates: Connection) -> None:
    """Of 2,000 and of 8,000 that stand: nobody's life is read but theirs who have a change that day."""

    def read(customers: int) -> int:
        load(rates, a_change("02-10", price="70", user="somebody"))
        update_subscriptions(rates, days("2024-01-01", "2025-02-10"))
        rates.execute(
            """INSERT INTO analytics_subscriptions
            SELECT 'acme', 'old ' || n, '2024-01-01Z', NULL, 'user ' || n, 'active', 10, 'EUR', 'month', 1, 1, 10, true,
                   'subscription.started', gen_random_uuid(), 'user ' || n, false
            FROM generate_series(1, %s) AS n""",
            [customers],
        )
        # The balances of the day's ends, and of the same day a year before.
        for day in ("2024-02-10", "2025-02-09", "2025-02-10"):
            update_subscriptions(rates, days(day))
        rates.execute("ANALYZE analytics_subscriptions")
        with rates.transaction():
            before = _subscriptions_read(rates)
            rows = rates.execute(
                "SELECT end_mrr FROM analytics_mrr_movements_rows('day', '2025-02-10', '2025-02-11', 'UTC', 'EUR', 2)"
            ).fetchall()
            # Of the company, and of all together.
            assert rows == [(customers * 10 + 70,)] * 2
            return _subscriptions_read(rates) - before

    assert read(8_000) == read(2_000) < 100


def _subscriptions_read(connection: Connection) -> int:
    """Return how many rows this session has read of late."""
    counted = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = %s"
    return int(fetch_row(connection, counted, ["analytics_subscriptions"])[0])
