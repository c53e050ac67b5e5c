"""Figures as they are shown: rounded once, and still adding up.

Belongs here: rounding of several figures together. One amount is rounded by ``currencies.round_money``.
"""

from dataclasses import replace
from decimal import Decimal, localcontext

from analytics_pipeline.currencies import CERTAIN_PLACES, PRECISION, currency_digits, rounded
from analytics_pipeline.metrics.revenue import MrrMovements

_SIGNS = {"new": 1, "reactivation": 1, "expansion": 1, "contraction": -1, "churn": -1, "fx": 1}


def round_movements(movements: MrrMovements, currency: str) -> MrrMovements:
    """Return the movements in the currency's digits, start and end half-even, such that they add up exactly.

    Rounded one by one they may miss the difference of the rounded balances by a few last digits; those go to the
    movements that rounding has changed the most, as in any allocation by the largest remainder.
    """
    digits = currency_digits(currency)
    unit = Decimal(1).scaleb(-digits)
    with localcontext(prec=PRECISION):
        start, end = rounded(movements.start, digits), rounded(movements.end, digits)
        exact = {name: sign * getattr(movements, name) for name, sign in _SIGNS.items()}
        shown = {name: rounded(amount, digits) for name, amount in exact.items()}
        missing = end - start - sum(shown.values())
        step = unit.copy_sign(missing)
        # A figure that is zero stays zero: who had no churn is not told of a cent of it.
        candidates = sorted(
            (name for name, amount in exact.items() if rounded(amount, CERTAIN_PLACES)),
            key=lambda name: (exact[name] - shown[name]) * step,
            reverse=True,
        )
        for position in range(int(missing / step) if missing else 0):
            shown[candidates[position % len(candidates)]] += step
    return replace(movements, start=start, end=end, **{name: sign * shown[name] + 0 for name, sign in _SIGNS.items()})
