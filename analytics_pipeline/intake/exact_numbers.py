"""Numbers that keep every digit: what is accepted, and as which ``Decimal``."""

import math
import re
from decimal import Decimal

from analytics_pipeline.intake.rejection import RejectedEvent, shown

# As numeric(38, 18) would hold: wei have 18 decimals, and no amount needs more than 20 digits before them.
MAX_INTEGER_DIGITS = 20
MAX_DECIMALS = 18

# A decimal of 15 significant digits survives the way through a double and back; one of 16 may not.
EXACT_FLOAT_DIGITS = 15

# Bounds of a number in metadata: far inside what jsonb can store, far outside what anyone counts.
MAX_METADATA_DIGITS = 100
MAX_METADATA_EXPONENT = 308

# A rate has no smallest unit: what was published is kept.
MAX_RATE_DIGITS = 100
MAX_RATE_DECIMALS = 100

_MAX_METADATA_INT = 10**MAX_METADATA_DIGITS
_is_number = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?").fullmatch
# A number that is within the bounds of an amount, whatever its digits.
_is_plain_amount = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,18})?").fullmatch
_has_decimal_comma = re.compile(r"[+-]?[0-9]*,[0-9]+").fullmatch
_NAN_CHARACTERS = 3
_NOT_FINITE = ("nan", "inf", "infinity")


def to_decimal(raw: object, field: str, decimal_comma: bool = False) -> Decimal:  # noqa: FBT001, FBT002
    """Return the number exactly as written: a Decimal, int or text like ``-12.50``, or a float if exact.

    ``decimal_comma``: texts are written like ``-12,50``, and hold no point.

    A float is taken as the decimal it prints as, if that has at most 15 significant digits: every such
    decimal survives a double, so it is what the sender wrote. Longer ones are rejected, not rounded.
    """
    if isinstance(raw, Decimal):
        return raw
    if isinstance(raw, int) and not isinstance(raw, bool):
        return Decimal(raw)
    if isinstance(raw, str):
        if decimal_comma:
            if _has_decimal_comma(raw):
                return Decimal(raw.replace(",", "."))
        elif _has_decimal_comma(raw):
            raise RejectedEvent(
                f"{field} has a decimal comma",
                f"{field} {shown(raw)} has a decimal comma: write it like -12.50, or load its file with "
                "--decimal-comma.",
            )
        if _is_number(raw) and not (decimal_comma and "." in raw):
            return Decimal(raw)
        if raw.strip().lower().lstrip("+-") in _NOT_FINITE:
            raise not_finite(field, raw)
    elif isinstance(raw, float):
        return _exact_float(raw, field)
    raise RejectedEvent(f"{field} is not a number", f"{field} {shown(raw)} is not a number: write it like -12.50.")


def to_amount(raw: object, field: str, decimal_comma: bool = False) -> Decimal:  # noqa: FBT001, FBT002
    """Return the amount that ``to_decimal`` and ``check_amount`` give."""
    if isinstance(raw, str) and _is_plain_amount(raw) and not decimal_comma:
        return Decimal(raw)
    return check_amount(to_decimal(raw, field, decimal_comma), field)


def is_nan(raw: object) -> bool:
    """Return whether the value is not a number in the way that columns of numbers write null."""
    if isinstance(raw, str):
        # Most texts are numbers, and longer.
        return len(raw) <= _NAN_CHARACTERS and raw.strip().lower() == _NOT_FINITE[0]
    if isinstance(raw, float):
        return math.isnan(raw)
    return isinstance(raw, Decimal) and raw.is_nan()


def check_amount(value: Decimal, field: str) -> Decimal:
    """Return the amount, with no more than 18 decimals: zeros at its end are no digits.

    Raises ``RejectedEvent`` unless it is finite, with at most 20 digits before the point and 18 after.
    """
    if not value.is_finite():
        raise not_finite(field, value)
    exponent = value.as_tuple().exponent
    if exponent < -MAX_DECIMALS:  # type: ignore[operator]  # of a finite number
        exact = _without_zeros(value)
        if exact.as_tuple().exponent < -MAX_DECIMALS:  # type: ignore[operator]
            raise RejectedEvent(
                f"{field} has too many decimals",
                f"{field} {shown(str(value))} has more than {MAX_DECIMALS} decimals: round it at the source.",
            )
        value = exact
    if not value:
        return value if value.adjusted() < MAX_INTEGER_DIGITS else Decimal(0)
    if value.adjusted() >= MAX_INTEGER_DIGITS:
        raise _too_large(value, field)
    return value


def check_rate(value: Decimal, field: str) -> Decimal:
    """Return the rate as it was given, whatever its decimals.

    Raises ``RejectedEvent`` unless it is finite, with at most 20 digits before the point and 100 in all, of which the
    first is not beyond the hundredth decimal.
    """
    if not value.is_finite():
        raise not_finite(field, value)
    if value and value.adjusted() >= MAX_INTEGER_DIGITS:
        raise _too_large(value, field)
    exact = _without_zeros(value)
    if len(exact.as_tuple().digits) > MAX_RATE_DIGITS or exact.adjusted() < -MAX_RATE_DECIMALS:
        raise RejectedEvent(
            f"{field} is out of bounds",
            f"{field} {shown(str(value))} has more than {MAX_RATE_DIGITS} digits, or none of the first "
            f"{MAX_RATE_DECIMALS} decimals: check it at the source.",
        )
    return exact if len(value.as_tuple().digits) > MAX_RATE_DIGITS else value


def _too_large(value: Decimal, field: str) -> RejectedEvent:
    return RejectedEvent(
        f"{field} is too large",
        f"{field} {shown(str(value))} has more than {MAX_INTEGER_DIGITS} digits before the point.",
    )


def _without_zeros(value: Decimal) -> Decimal:
    """Return the number without zeros at the end of its decimals; not by normalize(), which rounds to 28 digits."""
    sign, digits, exponent = value.as_tuple()
    last = len(digits)
    places = -int(exponent)
    while places > 0 and last > 1 and not digits[last - 1]:
        last -= 1
        places -= 1
    return Decimal((sign, digits[:last], -places)) if any(digits) else Decimal(0)


def check_metadata_number(value: int | float | Decimal, key: str) -> None:
    """Raise ``RejectedEvent`` unless ``jsonb`` can hold the number of this metadata key, digit by digit."""
    in_bounds = True
    if isinstance(value, int):
        in_bounds = -_MAX_METADATA_INT < value < _MAX_METADATA_INT
    elif not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
        raise not_finite(f"{shown(key)} of metadata", value)
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
        raise not_finite(field, raw)
    value = Decimal(float.__repr__(raw))
    if len(_without_zeros(value).as_tuple().digits) > EXACT_FLOAT_DIGITS:
        raise RejectedEvent(
            f"{field} would lose digits",
            f"{field} {value} is a binary fraction of more than {EXACT_FLOAT_DIGITS} digits, whose decimal is "
            "unknown: send a decimal number or a text.",
        )
    return value


def not_finite(field: str, raw: object) -> RejectedEvent:
    """Return the rejection of a value that is no finite number."""
    return RejectedEvent(
        "not a finite number", f"{field} {shown(str(raw))} is not a finite number: send a number or null."
    )
