"""Figures as they are shown: rounded once, and still adding up.

Belongs here: rounding of several figures together. One amount is rounded by ``currencies.round_money``.
"""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, localcontext

from analytics_pipeline.currencies import CERTAIN_PLACES, PRECISION, currency_digits, rounded
from analytics_pipeline.metrics.revenue import MrrMovements

_SIGNS = {"new": 1, "reactivation": 1, "expansion": 1, "contraction": -1, "churn": -1, "fx": 1}


def round_movements(movements: MrrMovements, currency: str) -> MrrMovements:
    """Return the movements in the currency's digits, start and end half-even, such that they add up exactly."""
    digits = currency_digits(currency)
    start, end = rounded(movements.start, digits), rounded(movements.end, digits)
    with localcontext(prec=PRECISION):
        exact = [sign * getattr(movements, name) for name, sign in _SIGNS.items()]
        shown = round_parts(exact, end - start, digits)
        signed = {name: sign * part + 0 for (name, sign), part in zip(_SIGNS.items(), shown, strict=True)}
    return replace(movements, start=start, end=end, **signed)


def round_parts(parts: Sequence[Decimal], whole: Decimal, digits: int) -> list[Decimal]:
    """Return parts rounded to so many digits such that they add up to ``whole``, their sum with as many digits.

    Rounded one by one they may miss it by a few last digits; those go to the parts that rounding has changed the
    most, as in any allocation by the largest remainder. Raises ``ValueError`` for a whole that is not their sum.
    """
    unit = Decimal(1).scaleb(-digits)
    with localcontext(prec=PRECISION):
        # Start and end may have been rounded away from each other, by half a unit each.
        if rounded(abs(whole - sum(parts)), CERTAIN_PLACES) > unit:
            raise ValueError(f"the parts add up to {sum(parts)}, not to {whole}")
        shown = [rounded(part, digits) for part in parts]
        missing = whole - sum(shown)
        step = unit.copy_sign(missing)
        # A figure that is zero stays zero: who had no churn is not told of a cent of it.
        candidates = sorted(
            (index for index, part in enumerate(parts) if rounded(part, CERTAIN_PLACES)),
            key=lambda index: (parts[index] - shown[index]) * step,
            reverse=True,
        )
        for position in range(int(missing / step) if missing else 0):
            shown[candidates[position % len(candidates)]] += step
    return shown
