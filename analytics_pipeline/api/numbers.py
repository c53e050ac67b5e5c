"""Answers as JSON: a number is written with its decimals, never through a float."""

from decimal import Decimal
from typing import Literal

import msgspec

Numbers = Literal["number", "string"]


def to_json(answer: object, numbers: Numbers = "number") -> bytes:
    """Return an answer as JSON, amounts and rates (``Decimal``) as numbers or as strings of the same digits."""
    return msgspec.json.encode(_writable(answer, numbers))


def _writable(value: object, numbers: Numbers) -> object:
    if isinstance(value, Decimal):
        return f"{value:f}" if numbers == "string" else msgspec.Raw(f"{value:f}".encode())
    if isinstance(value, dict):
        return {name: _writable(entry, numbers) for name, entry in value.items()}
    if isinstance(value, list):
        return [_writable(entry, numbers) for entry in value]
    return value
