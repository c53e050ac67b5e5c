"""Which rate converts an amount: the pair's own, or through a third currency the newest of each leg."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_pipeline.fx.csv_rates import read_rates
from analytics_pipeline.fx.rate_store import store_rates
from analytics_pipeline.metrics.revenue import revenue_metrics
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closed_week import fill, is_settled, settle, stale
from analytics_pipeline_tests.metrics.closing import days
from analytics_pipeline_tests.metrics.reference import rate_between
from analytics_pipeline_tests.metrics.single_figures import mrr_movements
from analytics_pipeline_tests.metrics.subscription_changes import EXAMPLES, a_change, as_events, load_events

FIRST = date(2024, 2, 1)
SATURDAY = ("2024-02-02,EUR,USD,1.10", "2024-02-02,BTC,USD,66000", "2024-02-04,BTC,USD,72600")


@pytest.fixture
def book(shared: Connection) -> Iterator[Connection]:
    """A database without events and rates, as it was again after the test."""
    with shared.transaction(force_rollback=True):
        yield shared


def note(connection: Connection, *lines: str) -> None:
    text = "\n".join(["rate_date,base,quote,rate", *lines])
    store_rates(connection, [read_rates(text.encode(), "rates.csv")])


def cost(connection: Connection, sold: str, bought: str, day: str) -> Fraction | None:
    row = connection.execute(
        "SELECT numerator, denominator FROM analytics_fx_rate(%s, %s, %s)", [sold, bought, day]
    ).fetchone()
    return Fraction(row[0]) / Fraction(row[1]) if row else None


def test_a_weekend_s_crypto_is_worth_what_it_cost_then_at_the_rate_of_friday(book: Connection) -> None:
    note(book, *SATURDAY)
    assert cost(book, "BTC", "EUR", "2024-02-04") == 66_000
    assert cost(book, "EUR", "BTC", "2024-02-04") == Fraction(1, 66_000)
    # Each leg serves for its own 7 days.
    assert cost(book, "BTC", "EUR", "2024-02-09") == 66_000
    assert cost(book, "BTC", "EUR", "2024-02-10") is None


KUNA, LEV = Fraction("7.53450"), Fraction("1.95583")


def test_what_has_joined_the_euro_is_converted_at_its_irrevocable_rate_from_that_day_on(book: Connection) -> None:
    note(
        book,
        *(
            "2022-12-30,EUR,HRK,7.5365",
            "2022-12-30,EUR,USD,1.0666",
            "2026-01-12,EUR,USD,1.20",
            "2026-01-12,BTC,USD,60000",
        ),
        # What somebody still quotes is no rate any more.
        *("2026-01-12,EUR,BGN,2", "2026-01-12,BGN,USD,9", "2026-01-12,USDT,HRK,6"),
    )
    assert cost(book, "EUR", "HRK", "2022-12-31") == Fraction("7.5365"), "the rates of its days before"
    assert cost(book, "EUR", "HRK", "2023-01-01") == KUNA
    assert cost(book, "HRK", "EUR", "2060-01-01") == 1 / KUNA
    assert cost(book, "HRK", "HRK", "2026-01-12") == 1
    assert cost(book, "HRK", "BGN", "2026-01-12") == LEV / KUNA
    assert cost(book, "HRK", "BGN", "2025-12-31") is None
    assert cost(book, "BGN", "EUR", "2026-01-12") == 1 / LEV
    assert cost(book, "BGN", "USD", "2026-01-12") == Fraction("1.2") / LEV
    assert cost(book, "USD", "HRK", "2026-01-19") == KUNA / Fraction("1.2")
    assert cost(book, "USD", "HRK", "2026-01-20") is None, "the other leg has no rate of the last 7 days"
    assert cost(book, "BTC", "BGN", "2026-01-12") == 60_000 / Fraction("1.2") * LEV
    assert cost(book, "USDT", "EUR", "2026-01-12") == 6 / KUNA, "priced in what is a fixed part of a euro"


def test_every_member_of_the_euro_has_its_rate(book: Connection) -> None:
    members = book.execute("SELECT currency, joined_on::text, rate::text FROM analytics_euro_rates()").fetchall()
    assert len(members) == 21
    assert {("HRK", "2023-01-01", "7.53450"), ("BGN", "2026-01-01", "1.95583")} < set(members)
    for currency, joined_on, rate in members:
        before = str(date.fromisoformat(joined_on) - timedelta(days=1))
        assert cost(book, "EUR", currency, joined_on) == Fraction(rate)
        assert cost(book, "EUR", currency, before) is None


def test_payments_in_what_has_joined_are_all_converted(book: Connection) -> None:
    for value, currency in (("195.583", "BGN"), ("75.3450", "HRK")):
        add_event(book, "2026-01-12T10:00", value=value, currency=currency)
    figures = revenue_metrics(book, None, days("2026-01-12"), "EUR")
    assert figures.total_revenue == 110


def test_amounts_of_every_kind_are_converted_by_it(book: Connection) -> None:
    note(book, *SATURDAY)
    add_event(book, "2024-02-04T10:00", "crypto.received", category="crypto", value="1", currency="BTC")
    add_event(book, "2024-02-04T10:00", value="0.5", currency="BTC")
    add_event(book, "2024-02-04T10:00", "invoice.created", category="billing", value="0.25", currency="BTC")
    change = a_change("01-01", price="2", currency="BTC")._replace(at=days("2024-02-04").start)
    load_events(book, as_events([change]), {})
    sunday = days("2024-02-04")
    (volume,) = book.execute(
        "SELECT converted FROM analytics_crypto_volumes(NULL, %s, %s, 'EUR')", [sunday.start, sunday.end]
    ).fetchall()
    assert volume == (66_000,)
    figures = revenue_metrics(book, None, sunday, "EUR")
    assert [figures.total_revenue, figures.invoiced, figures.mrr] == [33_000, 16_500, 132_000]
    assert mrr_movements(book, None, sunday, "EUR").new == 132_000


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # Each leg as quoted, or turned round.
        (("2024-02-02,USD,EUR,0.5", "2024-02-04,USD,BTC,0.00002"), 25_000),
        (("2024-02-02,EUR,USD,2", "2024-02-04,USD,BTC,0.00002"), 25_000),
        # The newest of a leg, whichever way it is quoted.
        (("2024-02-02,BTC,USD,1", "2024-02-03,USD,BTC,0.5", "2024-02-01,EUR,USD,1"), 2),
        # The pair's own rate, however old within its 7 days.
        (("2024-01-28,BTC,EUR,7", *SATURDAY), 7),
        (("2024-01-28,EUR,BTC,0.125", *SATURDAY), 8),
        (("2024-01-27,BTC,EUR,7", *SATURDAY), 66_000),
        # The third currency whose older leg is newest, though the other has the newest leg of all.
        (("2024-02-02,EUR,USD,1", "2024-02-04,BTC,USD,5", "2024-02-03,EUR,GBP,1", "2024-02-03,BTC,GBP,6"), 6),
        # As old: the first by name, whatever the newer legs.
        (("2024-02-02,EUR,USD,1", "2024-02-04,BTC,USD,5", "2024-02-02,EUR,GBP,1", "2024-02-03,BTC,GBP,6"), 6),
        (("2024-02-02,EUR,AAA,1", "2024-02-02,BTC,AAA,5", "2024-02-02,EUR,B2,1", "2024-02-04,BTC,B2,6"), 5),
        # Never through two.
        (("2024-02-02,EUR,USD,1", "2024-02-02,USD,GBP,1", "2024-02-02,GBP,BTC,1"), None),
        # Nor by a rate to come.
        (("2024-02-05,EUR,USD,1", "2024-02-02,BTC,USD,1"), None),
    ],
)
def test_which_way_is_taken(book: Connection, lines: tuple[str, ...], expected: int | None) -> None:
    note(book, *lines)
    assert cost(book, "BTC", "EUR", "2024-02-04") == expected
    assert cost(book, "EUR", "BTC", "2024-02-04") == (None if expected is None else Fraction(1, expected))


def test_of_a_leg_quoted_both_ways_on_one_day_the_quote_counts(book: Connection) -> None:
    note(book, "2024-02-03,BTC,USD,3", "2024-02-03,USD,BTC,0.5", "2024-02-01,EUR,USD,1")
    assert cost(book, "BTC", "EUR", "2024-02-04") == 3
    assert cost(book, "EUR", "BTC", "2024-02-04") == Fraction(1, 2)


quotes = st.dictionaries(
    st.tuples(
        st.integers(0, 12).map(lambda day: FIRST + timedelta(days=day)),
        st.permutations(["AAA", "BBB", "CCC", "DDD"]).map(lambda drawn: (drawn[0], drawn[1])),
    ),
    st.sampled_from(["0.5", "2", "3", "7", "1.1"]),
    max_size=14,
)


@given(known=quotes, days_on=st.lists(st.integers(0, 20), min_size=1, max_size=3))
@settings(deadline=None, max_examples=25 * EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_rate_is_that_of_the_definitions(
    book: Connection, known: dict[tuple[date, tuple[str, str]], str], days_on: list[int]
) -> None:
    book.execute("DELETE FROM analytics_fx_rates")
    by_pair: dict[tuple[str, str], dict[date, Fraction]] = {}
    for (day, pair), quote in known.items():
        by_pair.setdefault(pair, {})[day] = Fraction(quote)
        book.execute(
            "INSERT INTO analytics_fx_rates (rate_date, base, quote, rate, source) VALUES (%s, %s, %s, %s, 'x')",
            [day, *pair, Decimal(quote)],
        )
    for day in (FIRST + timedelta(days=number) for number in days_on):
        for sold, bought in (("AAA", "BBB"), ("BBB", "AAA"), ("DDD", "AAA"), ("CCC", "CCC")):
            assert cost(book, sold, bought, f"{day}") == rate_between(by_pair, sold, bought, day)


@pytest.mark.slow
def test_a_rate_of_one_leg_makes_stale_whatever_it_may_serve(connection: Connection) -> None:
    """Euros have no rate of that day: the change of a third currency's price reaches them all the same."""
    note(connection, "2025-01-27,EUR,USD,1.25")
    add_event(connection, "2025-02-01T11:00", value="10", currency="BTC")
    fill(connection)
    query = (
        "SELECT {} FROM analytics_revenue_metrics "
        "WHERE company_id IS NOT NULL AND granularity = 'day' AND period_start = '2025-02-01+00'"
    )
    assert fetch_row(connection, query.format("total_revenue, unconverted -> 0 ->> 'currency'")) == (10, "BTC")
    note(connection, "2025-01-31,BTC,USD,50000")
    found = stale(connection)
    assert found == {name: ["01-31", "02-01", "02-02", "02-03", "01", "02"] for name in found}
    assert set(found) == {"mrr_movements", "revenue_metrics"}
    settle(connection)
    assert is_settled(connection)
    assert fetch_row(connection, query.format("total_revenue, unconverted")) == (400_010, [])
