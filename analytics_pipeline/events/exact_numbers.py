"""Numbers that keep every digit: what is accepted, and as which ``Decimal``.

Belongs here: form and bounds of a number, for ``value`` and for ``metadata``. Does not belong here: the
sign or presence an event type asks for.
"""

import math
import re
from decimal import Decimal

from analytics_pipeline.events.rejection import RejectedEvent, shown

# As numeric(38, 18) would hold: wei have 18 decimals, and no amount needs more than 20 digits before them.
MAX_INTEGER_DIGITS = 20
MAX_DECIMALS = 18

# A decimal of 15 significant digits survives the way through a double and back; one of 16 may not.
EXACT_FLOAT_DIGITS = 15

# Bounds of a number in metadata: far inside what jsonb can store, far outside what anyone counts.
MAX_METADATA_DIGITS = 100
MAX_METADATA_EXPONENT = 308

_MAX_METADATA_INT = 10**MAX_METADATA_DIGITS
_is_number = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,6})?").fullmatch


def to_decimal(raw: object, field: str) -> Decimal:
    """Return the number exactly as written: a Decimal, int or text like ``-12.50``, or a float if exact.

    A float is taken as the decimal it prints as, if that has at most 15 significant digits: every such
    decimal survives a double, so it is what the sender wrote. Longer ones are rejected, not rounded.
    """
    if isinstance(raw, Decimal):
        return raw
    if isinstance(raw, int) and not isinstance(raw, bool):
        return Decimal(raw)
    if isinstance(raw, str):
        if _is_number(raw):
            return Decimal(raw)
        if raw.strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise _not_finite(field, raw)
    elif isinstance(raw, float):
        return _exact_float(raw, field)
    raise RejectedEvent(f"{field} is not a number", f"{field} {shown(raw)} is not a number: write it like -12.50.")


def check_amount(value: Decimal, field: str) -> None:
    """Raise ``RejectedEvent`` unless the number is finite, with at most 20 digits before the point, 18 after."""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, str):
        raise _not_finite(field, value)
    if exponent < -MAX_DECIMALS:
        raise RejectedEvent(
            f"{field} has too many decimals",
            f"{field} {shown(str(value))} has more than {MAX_DECIMALS} decimals: round it at the source.",
        )
    if value.adjusted() >= MAX_INTEGER_DIGITS:
        raise RejectedEvent(
            f"{field} is too large",
            f"{field} {shown(str(value))} has more than {MAX_INTEGER_DIGITS} digits before the point.",
        )


def check_metadata_number(value: int | float | Decimal, key: str) -> None:
    """Raise ``RejectedEvent`` unless ``jsonb`` can hold the number of this metadata key, digit by digit."""
    in_bounds = True
    if isinstance(value, int):
        in_bounds = -_MAX_METADATA_INT < value < _MAX_METADATA_INT
    elif not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
        raise _not_finite(f"{shown(key)} of metadata", value)
    elif isinstance(value, Decimal):
        digits = len(value.as_tuple().digits)
        in_bounds = abs(value.adjusted()) <= MAX_METADATA_EXPONENT and digits <= MAX_METADATA_DIGITS
    if not in_bounds:
        raise RejectedEvent(
            "metadata number out of bounds",
            f"{shown(key)} of metadata has more than {MAX_METADATA_DIGITS} digits or an exponent beyond "
            f"{MAX_METADATA_EXPONENT}: write it as text.",
        )


def _exact_float(raw: float, field: str) -> Decimal:
    if not math.isfinite(raw):
        raise _not_finite(field, raw)
    value = Decimal(float.__repr__(raw))
    if len(value.normalize().as_tuple().digits) > EXACT_FLOAT_DIGITS:
        raise RejectedEvent(
            f"{field} would lose digits",
            f"{field} {value} is a binary fraction of more than {EXACT_FLOAT_DIGITS} digits, whose decimal is "
            "unknown: send a decimal number or a text.",
        )
    return value


def _not_finite(field: str, raw: object) -> RejectedEvent:
    return RejectedEvent(
        "not a finite number", f"{field} {shown(str(raw))} is not a finite number: send a number or null."
    )
