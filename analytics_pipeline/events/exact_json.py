"""JSON in and out without losing a digit, and without guessing."""

import json
import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

import msgspec

from analytics_pipeline.intake.rejection import RejectedEvent, shown

# What ``read_plain`` returns for text that isn't plain.
NOT_PLAIN: Final = object()

_BLANKS = " \t\r\n"


def parse_json(text: str) -> object:
    """Return the one JSON value the text holds; numbers with a point or exponent become ``Decimal``.

    Raises ``RejectedEvent`` on anything RFC 8259 does not allow, and on a key that occurs twice in an object.
    """
    value = read_plain(text)
    if value is not NOT_PLAIN:
        return value
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


def read_plain(text: str | bytes) -> object:
    """Return the one JSON value that plain text holds, in UTF-8 where it is bytes, as ``parse_json`` does; compiled.

    Returns ``NOT_PLAIN`` for text that is not JSON, has a key twice, or is written in a way in which that can't be seen
    at once: ``parse_json`` reads it, or says what is wrong.
    """
    if isinstance(text, bytes):
        ends, is_sure = text.count(KEY_END), blank_behind_quote(text) is None
    else:
        ends, is_sure = text.count(_KEY_END), _blank_behind_quote(text) is None
    if not is_sure:
        return NOT_PLAIN
    try:
        value = _decode(text)
    except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError):
        return NOT_PLAIN
    # Of a key that occurs twice the decoder keeps the last, without a word: then more keys end than it has given.
    return value if ends == count_keys(value) else NOT_PLAIN


def count_keys(value: object) -> int:
    """Return how many keys the objects of the value have."""
    if isinstance(value, dict):
        count = len(value)
        for item in value.values():
            if isinstance(item, dict | list):
                count += count_keys(item)
        return count
    return sum(map(count_keys, value)) if isinstance(value, list) else 0


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
        twice = _first_repeated(name for name, _ in pairs)
        raise RejectedEvent("key twice in one object", f"the key {shown(twice)} occurs twice in one object: keep one.")
    return value


def _first_repeated(names: Iterable[str]) -> str:
    """Return the first name that occurs a second time; each is looked at once."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    raise ValueError("no name is repeated")


def _refuse_constant(name: str) -> NoReturn:
    raise RejectedEvent("not a finite number", f"{name} is not a number JSON knows: send a number or null.")


def _not_json(problem: str) -> RejectedEvent:
    return RejectedEvent("not JSON", f"not JSON: {problem}.")


# What ends every key of JSON that holds no blank behind a quote. Where a text holds it, behind a backslash, more are
# counted than there are keys, never fewer.
KEY_END: Final = b'":'
_KEY_END = KEY_END.decode()
blank_behind_quote = re.compile(rb'"[ \t\r\n]').search
_blank_behind_quote = re.compile(r'"[ \t\r\n]').search
_decode = msgspec.json.Decoder(Any, float_hook=Decimal).decode
# The JSON, in UTF-8, of a checked value, for the server to read: numbers may be written otherwise than to_json() does.
encode_json = msgspec.json.Encoder(decimal_format="number").encode
_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_object)
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
