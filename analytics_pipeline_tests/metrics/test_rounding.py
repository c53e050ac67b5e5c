"""Figures are rounded once, each by itself and everywhere alike, and a line says what shown parts miss by."""

import json
from dataclasses import fields
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

import analytics_pipeline
from analytics_pipeline.currencies import (
    CERTAIN_PLACES,
    PRECISION,
    currencies,
    currency_digits,
    round_money,
    round_rate,
    rounded,
)
from analytics_pipeline.metrics.revenue import MrrMovements
from analytics_pipeline.metrics.rounding import round_movements
from analytics_pipeline.metrics.tables import METRIC_TABLES, MRR_MOVEMENTS, MetricTable
from analytics_pipeline.timescale.connection import Connection, fetch_row

LOSSES = ("contraction", "churn")
NAMES = ("new", "reactivation", "expansion", "contraction", "churn", "fx")

# As SQL gives them: at most 40 places; many zeros, many of the same size, and ties to be broken.
gains = st.one_of(
    st.just(Decimal(0)),
    st.sampled_from([Decimal(text) for text in ("0.005", "0.015", "0.004", "0.0049", "10.125", "1E-18", "3.3333")]),
    st.decimals(0, 10**12, places=40, allow_nan=False),
    st.fractions(0, 1000, max_denominator=1000).map(
        lambda f: Decimal(f.numerator * 10**40 // f.denominator).scaleb(-40)
    ),
)


@st.composite
def bridges(draw: st.DrawFn) -> MrrMovements:
    start, new, reactivation, expansion, contraction, churn, fx = (draw(gains) for _ in range(7))
    fx *= draw(st.sampled_from([1, -1]))
    end = sum(map(Fraction, (start, new, reactivation, expansion, -contraction, -churn, fx)), Fraction(0))
    return MrrMovements(start, new, reactivation, expansion, contraction, churn, fx, _exact(end))


def _exact(amount: Fraction) -> Decimal:
    """Return a fraction of at most 40 places as it is; Decimal arithmetic would round it to 28 digits."""
    units = amount * 10**40
    assert units.denominator == 1
    return Decimal((units < 0, tuple(map(int, str(abs(units.numerator)))), -40))


def _signed(movements: MrrMovements, name: str) -> Fraction:
    amount = Fraction(getattr(movements, name))
    return -amount if name in LOSSES else amount


def _bridge(start: str, fx: str, end: str) -> MrrMovements:
    """Balances that are rounded away from each other, by a whole unit together."""
    nothing = Decimal(0)
    return MrrMovements(Decimal(start), nothing, nothing, nothing, nothing, nothing, Decimal(fx), Decimal(end))


@given(exact=bridges(), currency=st.sampled_from(["EUR", "JPY", "BHD", "BTC"]))
@example(exact=_bridge("0.005", "0.01", "0.015"), currency="EUR")
@example(exact=_bridge("0.015", "-0.01", "0.005"), currency="EUR")
@example(exact=_bridge(f"0.005{'0' * 36}1", f"0.00{'9' * 38}", "0.015"), currency="EUR")
def test_each_movement_is_rounded_by_itself_and_rounding_is_what_they_miss_by(
    exact: MrrMovements, currency: str
) -> None:
    shown = round_movements(exact, currency)
    digits = currency_digits(currency)
    for field in fields(MrrMovements):
        after = getattr(shown, field.name)
        assert after == rounded(getattr(exact, field.name), digits)
        assert -after.as_tuple().exponent == digits
        assert not after.is_zero() or not after.is_signed()
    moved = sum(_signed(shown, name) for name in NAMES)
    assert Fraction(shown.start) + moved + Fraction(shown.rounding) == Fraction(shown.end)
    # Half a unit of each of eight figures at most, and what is left of divisions.
    assert abs(Fraction(shown.rounding)) <= 4 * Fraction(1, 10**digits) + 8 * Fraction(1, 10**CERTAIN_PLACES)


def test_three_thirds_are_ten_and_no_third_is_a_cent_larger_than_the_others() -> None:
    third = Decimal("3.3333333333333333333333333333333333333333")
    exact = MrrMovements(Decimal(0), third, third, third, Decimal(0), Decimal(0), Decimal(0), third * 3)
    shown = round_movements(exact, "EUR")
    assert (shown.new, shown.reactivation, shown.expansion, shown.rounding, shown.end) == tuple(
        map(Decimal, ("3.33", "3.33", "3.33", "0.01", "10.00"))
    )
    assert not any((shown.contraction, shown.churn, shown.fx))


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        ("2.675", 2, "2.68"),
        ("2.665", 2, "2.66"),
        ("-0.004", 2, "0.00"),
        # Three thirds, and a tie made of thirds: the residue of the division is none of the amount.
        ("0.9999999999999999999999999999999999999999", 2, "1.00"),
        ("0.0049999999999999999999999999999999999999", 2, "0.00"),
        ("0.0149999999999999999999999999999999999999", 2, "0.02"),
        ("0.0150000000000000000000000000000000000001", 2, "0.02"),
        ("0.0250000000000000000000000000000000000001", 2, "0.02"),
        # What is surely above the tie is not taken for one.
        ("0.025000000000000000000000000001", 2, "0.03"),
        ("99999999999999999999.999999999999999999", 8, "100000000000000000000.00000000"),
    ],
)
def test_an_amount_is_rounded_half_even_after_the_residue_of_divisions_is_gone(
    value: str, digits: int, expected: str
) -> None:
    assert f"{rounded(Decimal(value), digits):f}" == expected


def test_sql_and_python_know_the_same_digits_of_every_currency(shared: Connection) -> None:
    digits = {**currencies(), **dict.fromkeys(("BTC", "ETH", "USDC.E", "1INCH", "T", ""), 8)}
    asked = "SELECT c, analytics_currency_digits(c) FROM unnest(%s::text[]) AS c"
    assert dict(shared.execute(asked, [list(digits)]).fetchall()) == digits
    assert (digits["EUR"], digits["JPY"], digits["KWD"], digits["CLF"]) == (2, 0, 3, 4)
    assert len(digits) > 250


@pytest.mark.slow
def test_sql_and_python_round_alike(shared: Connection) -> None:
    random = Random(11)  # noqa: S311 - numbers for a test

    def number() -> Decimal:
        """Return a number of any size, often on a tie, or next to one by what a division leaves."""
        places = random.choice((0, 1, 2, 3, 4, 8, 9, 18, 29, 30, 31, 40))
        digits = str(random.randrange(10 ** random.choice((1, 2, 5, 12, 30)))) + random.choice(("", "5", "50", "05"))
        exact = Decimal(f"{random.choice(('', '-'))}{digits}E-{places}")
        residue = Decimal(random.choice(("0", "0", "1E-40", "-1E-40", "4E-31", "5E-31", "-5E-31", "1E-30")))
        with localcontext(prec=PRECISION):
            return exact + residue

    numbers = [number() for _ in range(20_000)]
    currencies = [random.choice(("EUR", "JPY", "BHD", "CLF", "BTC")) for _ in numbers]
    found = shared.execute(
        "SELECT v.value, analytics_round_money(v.value, v.currency), analytics_round_rate(v.value), "
        "analytics_round_rate(v.value, 2) FROM unnest(%s::numeric[], %s::text[]) WITH ORDINALITY "
        "AS v (value, currency, place) ORDER BY v.place",
        [numbers, currencies],
    ).fetchall()
    assert [row[0] for row in found] == numbers
    for (value, amount, rate, ratio), currency in zip(found, currencies, strict=True):
        expected = (round_money(value, currency), round_rate(value), rounded(value, 2))
        shown = [[f"{figure:f}" for figure in figures] for figures in ((amount, rate, ratio), expected)]
        assert shown[0] == shown[1], (value, currency)


@pytest.mark.parametrize("table", METRIC_TABLES, ids=lambda table: table.table)
def test_the_view_beside_a_table_has_its_columns(shared: Connection, table: MetricTable) -> None:
    more = {"rounding"} if table is MRR_MOVEMENTS else set()
    assert _columns(shared, f"{table.table}_rounded") == _columns(shared, table.table) | more


def test_amounts_without_a_rate_are_rounded_in_their_own_currency(shared: Connection) -> None:
    listed = [
        {"figure": "mrr", "currency": "JPY", "amount": 1.5, "firstDate": "2026-01-01"},
        {"figure": "mrr", "currency": "USD", "amount": 2.345},
    ]
    (rounded_list,) = fetch_row(shared, "SELECT analytics_round_unconverted(%s)::text", [Jsonb(listed)])
    assert [entry["amount"] for entry in json.loads(rounded_list, parse_float=str)] == [2, "2.34"]
    assert json.loads(rounded_list)[0]["firstDate"] == "2026-01-01"
    assert fetch_row(shared, "SELECT analytics_round_unconverted('[]')") == ([],)


def _columns(connection: Connection, relation: str) -> set[str]:
    query = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
    return {name for (name,) in connection.execute(query, [relation])}


def test_decimals_are_rounded_in_one_place() -> None:
    package = Path(analytics_pipeline.__file__).parent
    rounding = {
        path.relative_to(package).as_posix() for path in package.rglob("*.py") if "ROUND_HALF" in path.read_text()
    }
    assert rounding == {"currencies.py"}
