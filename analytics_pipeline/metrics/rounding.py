"""What moved MRR as it is shown: every amount rounded once by itself, and what they then miss by beside them."""

from dataclasses import dataclass, fields
from decimal import Decimal

from analytics_pipeline.currencies import missing_by, round_money
from analytics_pipeline.metrics.revenue import MrrMovements

_GAINS = ("new", "reactivation", "expansion", "fx")
LOSSES = ("contraction", "churn")
"""The movements that are taken from MRR: positive numbers, as all of them."""


@dataclass(frozen=True, slots=True)
class ShownMovements(MrrMovements):
    """MRR at a period's start and end and what moved it, each in the currency's digits; losses are positive.

    ``start + new + reactivation + expansion - contraction - churn + fx + rounding = end`` holds exactly.
    """

    rounding: Decimal


def round_movements(movements: MrrMovements, currency: str) -> ShownMovements:
    """Return exact movements as they are shown in their currency."""
    shown = {field.name: round_money(getattr(movements, field.name), currency) for field in fields(MrrMovements)}
    # Negated without a context: one would round a long amount.
    parts = [shown["start"], *(shown[name] for name in _GAINS), *(shown[name].copy_negate() for name in LOSSES)]
    return ShownMovements(**shown, rounding=missing_by(parts, shown["end"]))
