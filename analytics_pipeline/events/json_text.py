"""JSON in and out without losing a digit, and without guessing.

Belongs here: text to Python values and back. Does not belong here: what an event must look like.
"""

import json
from decimal import Decimal, InvalidOperation
from typing import NoReturn

from analytics_pipeline.events.rejection import RejectedEvent, shown

_BLANKS = " \t\r\n"


def parse_json(text: str) -> object:
    """Return the one JSON value the text holds; numbers with a point or exponent become ``Decimal``.

    Raises ``RejectedEvent`` on anything RFC 8259 does not allow, and on a key that occurs twice in an object.
    """
    text = text.strip(_BLANKS)
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        raise _not_json(f"{error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise _not_json("it is nested too deeply") from error
    except (ValueError, InvalidOperation) as error:
        raise _not_json("a number in it has thousands of digits") from error
    if end != len(text):
        raise _not_json(f"something follows the value at character {end + 1}")
    return value


def to_json(value: object) -> str:
    """Return the compact JSON text of a checked value; a ``Decimal`` is written as the number it is."""
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    if isinstance(value, dict):
        return f"{{{','.join([f'{_quote(key)}:{to_json(item)}' for key, item in value.items()])}}}"
    if isinstance(value, list):
        return f"[{','.join([to_json(item) for item in value])}]"
    if isinstance(value, Decimal):
        return str(value)
    return _encode(value)


def _quote(text: str) -> str:
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return _encode(text)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RejectedEvent("key twice in one object", f"the key {shown(twice)} occurs twice in one object: keep one.")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise RejectedEvent("not a finite number", f"{name} is not a number JSON knows: send a number or null.")


def _not_json(problem: str) -> RejectedEvent:
    return RejectedEvent("not JSON", f"not JSON: {problem}.")


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_object)
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
