"""What an alert found and watched for, in the words and the notation of a locale.

Rules and the database have both in English: ``-20.0 % to 800.00 EUR``, ``change below -20 % in 2 of 3 months``. A text
of another form stays as it is.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from analytics_pipeline.currencies import currency_digits, is_currency
from analytics_pipeline.languages.wording import Message, message
from analytics_pipeline.metrics.rates import points

if TYPE_CHECKING:
    # It loads Babel.
    from analytics_pipeline.languages.notation import Notation

SEVERITIES: Mapping[str, Message] = {"warning": message("warning"), "error": message("error")}

_is_condition = re.compile(
    r"(?P<change>change )?(?P<comparison>above|below|at least|at most) (?P<threshold>\S+(?: \S+)?)"
    r"(?: in (?P<needed>\d+) of (?P<of>\d+) (?P<granularity>day|month)s)?"
).fullmatch
_is_difference = re.compile(r"(?P<difference>\S+(?: \S+)?) to (?P<figure>.+)").fullmatch
_is_points = re.compile(r"(?P<number>[+-]?\d[\d,]*(?:\.\d+)?) points").fullmatch
_number = re.compile(r"(?<![\w.,])([+-]?)(\d[\d,]*(?:\.\d+)?)( %| [A-Z]{3}\b)?(?![\w.,]*\d)")


def figure_in_words(found: str) -> str:
    """Return what an alert found as a message: a figure, or how far it has come to which one."""
    if found == "no data":
        return message("no data")
    if matched := _is_difference(found):
        difference, figure = matched.groups()
        return message("{difference} to {figure}", difference=_points(difference), figure=figure)
    return found


def condition_in_words(condition: str) -> str:
    """Return what an alert watched for as a message."""
    if not (matched := _is_condition(condition)):
        return condition
    threshold = _points(matched["threshold"])
    compared = {
        "above": message("above {threshold}", threshold=threshold),
        "below": message("below {threshold}", threshold=threshold),
        "at least": message("at least {threshold}", threshold=threshold),
        "at most": message("at most {threshold}", threshold=threshold),
    }[matched["comparison"]]
    if matched["change"]:
        compared = message("change {compared}", compared=compared)
    if matched["granularity"] is None:
        return compared
    times = {"compared": compared, "needed": matched["needed"], "of": matched["of"]}
    return (
        message("{compared} in {needed} of {of} days", **times)
        if matched["granularity"] == "day"
        else message("{compared} in {needed} of {of} months", **times)
    )


def in_notation(words: str, notation: "Notation") -> str:
    """Return words in the language of a notation, and the figures in them, which are in English, as that has them.

    In English they stay as they are kept; in others an amount with decimals has those of its currency.
    """
    return _number.sub(lambda found: _written(found, notation), notation.say(words))


def _points(difference: str) -> str:
    matched = _is_points(difference)
    return points(Decimal(matched["number"].replace(",", "")), matched["number"]) if matched else difference


def _written(found: re.Match[str], notation: "Notation") -> str:
    sign, digits, unit = found.groups("")
    value = Decimal(digits.replace(",", ""))
    decimals = max(-int(value.as_tuple().exponent), 0)
    written_sign = {"-": notation.minus, "+": "+"}.get(sign, "")
    if unit == " %":
        return written_sign + notation.percent(value, decimals)
    if decimals and not notation.is_english and is_currency(unit.strip()):
        # A rule may say 10000.5 EUR.
        decimals = max(decimals, currency_digits(unit.strip()))
    return written_sign + notation.number(value, decimals) + unit
