"""Figures are rounded once, and what adds up exactly still adds up as it is shown."""

from dataclasses import fields
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analytics_pipeline.currencies import CERTAIN_PLACES, currency_digits, rounded
from analytics_pipeline.metrics.revenue import MrrMovements
from analytics_pipeline.metrics.rounding import round_movements

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
def test_rounded_movements_add_up_and_none_is_off_by_more_than_a_unit(exact: MrrMovements, currency: str) -> None:
    shown = round_movements(exact, currency)
    digits = currency_digits(currency)
    unit = Fraction(1, 10**digits)
    assert Fraction(shown.start) + sum(_signed(shown, name) for name in NAMES) == Fraction(shown.end)
    for field in fields(shown):
        before, after = getattr(exact, field.name), getattr(shown, field.name)
        assert -after.as_tuple().exponent == digits
        assert not after.is_zero() or not after.is_signed()
        if field.name in ("start", "end"):
            assert after == rounded(before, digits)
        assert abs(Fraction(after) - Fraction(before)) <= unit + Fraction(1, 10**CERTAIN_PLACES)
        assert before or not after, "what is zero stays zero"
        assert Fraction(before) * Fraction(after) >= 0, "a gain is never shown as a loss"


def test_the_last_digits_go_where_rounding_changed_the_most() -> None:
    third = Decimal("3.3333333333333333333333333333333333333333")
    exact = MrrMovements(Decimal(0), third, third, third, Decimal(0), Decimal(0), Decimal(0), third * 3)
    shown = round_movements(exact, "EUR")
    assert (shown.new, shown.reactivation, shown.expansion, shown.end) == tuple(
        map(Decimal, ("3.34", "3.33", "3.33", "10.00"))
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
