"""A rule: which figure of whom is compared with what, and who is notified."""

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from analytics_pipeline.alerts.rule_metrics import METRICS, Metric
from analytics_pipeline.currencies import require_currency
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.ids import MAX_ID_CHARACTERS
from analytics_pipeline.health.check_result import Severity
from analytics_pipeline.messages.addresses import Address, Names, parse_address, require_configured
from analytics_pipeline.metrics.rates import Unit
from analytics_pipeline.metrics.tables import GRANULARITIES
from analytics_pipeline.windows import Granularity

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

EACH_COMPANY = "*"
ALWAYS = "always"
# As long as reports are mailed after their month has ended.
_NOTIFY_WITHIN = timedelta(days=45)
_MAX_PERIODS = 100
_MAX_DESCRIPTION_CHARACTERS = 500
_MAX_SHOWN_CHARACTERS = 80
# What files of before have beside the recipients.
_WEBHOOK = "webhook"
_NO_ADDRESSES = "write a list of addresses, like ['mail:ops@example.com', 'slack:ops']"
_FAILED = object()

_is_id = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}").fullmatch
_amount = re.compile(r"([+-]?\d{1,20}(?:\.\d{1,18})?)\s*(\S*)").fullmatch
_are_periods = re.compile(r"(\d{1,3}) of (\d{1,3})").fullmatch
_days = re.compile(r"(\d{1,4}) days").fullmatch


class Comparison(StrEnum):
    """How a figure has to stand to the threshold for the rule to fire."""

    ABOVE = "above"
    BELOW = "below"
    AT_LEAST = "at least"
    AT_MOST = "at most"

    def holds(self, figure: Decimal, threshold: Decimal) -> bool:
        """Return whether the figure stands so to the threshold."""
        match self:
            case Comparison.ABOVE:
                return figure > threshold
            case Comparison.BELOW:
                return figure < threshold
            case Comparison.AT_LEAST:
                return figure >= threshold
            case Comparison.AT_MOST:
                return figure <= threshold


class Measure(StrEnum):
    """What is compared with the threshold: the figure, its difference from the period before, or that in per cent."""

    VALUE = "value"
    DIFFERENCE = "difference"
    GROWTH = "growth"


class NoData(StrEnum):
    """Whether anybody is notified of missing figures."""

    OK = "ok"
    ALERT = "alert"


# The keys that take one of a few words, each with what the word stands for.
_CHOICES: Mapping[str, Mapping[str, object]] = {
    "metric": METRICS,
    "granularity": {str(granularity): granularity for granularity in GRANULARITIES},
    "comparison": {str(comparison): comparison for comparison in Comparison},
    "severity": {str(severity): severity for severity in Severity},
    "no_data": {str(choice): choice for choice in NoData},
}
# What a key is called in a sentence, where that is not its own name.
_NAMES = {"metric": "figure", "no_data": "choice"}


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a figure is compared with. ``unit`` is as the rule writes it: a currency, ``%``, ``points`` or nothing."""

    measure: Measure
    amount: Decimal
    unit: str

    def __str__(self) -> str:
        """Show it as a rule writes it, the number grouped."""
        return f"{self.amount:,f} {self.unit}".rstrip()


class Periods(NamedTuple):
    """How many periods of how many last ones have to cross the threshold."""

    needed: int
    of: int

    def __str__(self) -> str:
        """Show it as a rule writes it."""
        return f"{self.needed} of {self.of}"


class RuleError(ValueError):
    """Everything that is wrong with a rule: for each wrong key what it is, and what to write instead."""

    def __init__(self, *problems: str) -> None:
        """Take clauses that begin with their key."""
        super().__init__("; ".join(problems))
        self.problems = problems


class _WrongError(ValueError):
    """What is wrong with a key, of which pydantic makes an error: the one being read, unless another is named."""

    def __init__(self, text: str, key: str = "") -> None:
        super().__init__(text)
        self.key = key


class _Webhook(NamedTuple):
    """The name of a webhook that stands beside the recipients."""

    name: object


@dataclass(frozen=True, slots=True)
class _Settings:
    """What a rule has to fit: the reporting currency, and the names that addresses may use; None: any."""

    currency: str | None
    names: Names | None


def _settings(info: ValidationInfo) -> _Settings:
    return cast("_Settings", info.context)


def _text(given: object) -> str:
    if not isinstance(given, str):
        shown = str(given) if isinstance(given, int | float | Decimal) else repr(given)
        raise _WrongError(f"{shown[:_MAX_SHOWN_CHARACTERS]} is no text: put it between quotation marks")
    return given


def _id(given: object) -> str:
    text = _text(given)
    if not _is_id(text):
        shown = text[:_MAX_SHOWN_CHARACTERS]
        raise _WrongError(f"{shown!r} has to be small letters, digits, '-' and '_', like 'low-revenue'")
    return text


def _description(given: object) -> str:
    text = " ".join(_text(given).split())
    if len(text) > _MAX_DESCRIPTION_CHARACTERS or not text.isprintable():
        raise _WrongError(f"write at most {_MAX_DESCRIPTION_CHARACTERS} printable characters")
    return text


def _choice(given: object, info: ValidationInfo) -> object:
    key, text = info.field_name or "", _text(given)
    choices = _CHOICES[key]
    if text not in choices:
        what, shown = _NAMES.get(key, key), text[:_MAX_SHOWN_CHARACTERS]
        raise _WrongError(f"there is no {what} {shown!r}{_instead(text, choices)}: choose one of {', '.join(choices)}")
    return choices[text]


def _company(given: object) -> str:
    text = _text(given)
    if not (0 < len(text) <= MAX_ID_CHARACTERS and text.isprintable()):
        raise _WrongError(
            f"{text[:MAX_ID_CHARACTERS]!r} is no id of a company: write one, '*' for each company on its own, or "
            "leave the key out for all of them together"
        )
    return text


def _threshold(given: object, info: ValidationInfo) -> Threshold | None:
    key, metric = info.field_name or "", info.data.get("metric")
    if metric is None:
        # Of a figure that does not exist nobody knows the unit: its problem is the same one.
        return None
    if key == "change" and (given is None) == (info.data.get("value", _FAILED) is None):
        raise _WrongError("give either value, for the figure, or change, for what it gained or lost", "value")
    return None if given is None else _read_threshold(key, given, metric, _settings(info).currency)


def _periods(given: object) -> Periods:
    text = _text(given)
    match = _are_periods(text)
    if match is None:
        raise _WrongError(f"{text[:_MAX_SHOWN_CHARACTERS]!r} has to look like '2 of 3'")
    periods = Periods(int(match[1]), int(match[2]))
    if not 1 <= periods.needed <= periods.of <= _MAX_PERIODS:
        raise _WrongError(
            f"{text!r} can't be: at least 1, of as many or more, of at most {_MAX_PERIODS}, like '2 of 3'"
        )
    return periods


def _address(given: object, info: ValidationInfo) -> Address:
    if not isinstance(given, str | _Webhook):
        raise _WrongError(_NO_ADDRESSES)
    try:
        address = parse_address(given if isinstance(given, str) else f"{_WEBHOOK}:{_text(given.name)}")
        require_configured(address, _settings(info).names or {})
    except ValueError as error:
        raise _WrongError(str(error), _WEBHOOK if isinstance(given, _Webhook) else "") from error
    return address


def _recipients(given: object) -> object:
    if not isinstance(given, list | tuple):
        raise _WrongError(_NO_ADDRESSES)
    if not given:
        raise _WrongError("nobody is notified: write addresses here, like 'mail:ops@example.com'")
    return given


def _once_each(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    return tuple({address.key: address for address in reversed(addresses)}.values())[::-1]


def _tell_within(given: object) -> timedelta | None:
    text = _text(given)
    if text == ALWAYS:
        return None
    match = _days(text)
    if match is None:
        shown = text[:_MAX_SHOWN_CHARACTERS]
        raise _WrongError(f"{shown!r} has to look like '{_NOTIFY_WITHIN.days} days', or be '{ALWAYS}'")
    return timedelta(days=int(match[1]))


def _locale(given: object) -> str:
    # It loads Babel: only a rule that names a locale pays for it.
    from analytics_pipeline.languages.notation import require_written_locale

    text = _text(given)
    try:
        return require_written_locale(text[:_MAX_SHOWN_CHARACTERS])
    except AnalyticsError as error:
        raise _WrongError(str(error).removesuffix(".")) from error


_Threshold = Annotated[InstanceOf[Threshold] | None, BeforeValidator(_threshold)]
_Recipient = Annotated[InstanceOf[Address], BeforeValidator(_address)]
_Choice = BeforeValidator(_choice)


class Rule(BaseModel):
    """One checked rule; its fields are the keys of the file.

    ``company`` None is all companies together, ``EACH_COMPANY`` every company on its own. The rule fires when
    ``periods.needed`` of the last ``periods.of`` periods stand to the threshold as ``comparison`` says: that is
    ``value`` or ``change``, whichever is given. A period that ended longer ago than ``tell_within`` (None: never) is
    recorded, and none of the ``recipients`` is notified. ``locale`` is that of the messages, None: that of the company.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, BeforeValidator(_id)]
    description: Annotated[str, BeforeValidator(_description)] = ""
    metric: Annotated[InstanceOf[Metric], _Choice]
    granularity: Annotated[Granularity, _Choice]
    company: Annotated[str | None, BeforeValidator(_company)] = None
    comparison: Annotated[Comparison, _Choice]
    value: _Threshold = None
    change: _Threshold = Field(default=None, validate_default=True)
    severity: Annotated[Severity, _Choice]
    periods: Annotated[InstanceOf[Periods], BeforeValidator(_periods)] = Periods(1, 1)
    recipients: Annotated[tuple[_Recipient, ...], BeforeValidator(_recipients), AfterValidator(_once_each)] = Field(
        default=(), validate_default=True
    )
    no_data: Annotated[NoData, _Choice] = NoData.OK
    tell_within: Annotated[timedelta | None, BeforeValidator(_tell_within)] = _NOTIFY_WITHIN
    locale: Annotated[str | None, BeforeValidator(_locale)] = None

    @model_validator(mode="before")
    @classmethod
    def _join_webhook(cls, entry: dict[str, Any]) -> dict[str, Any]:
        joined = {key: given for key, given in entry.items() if key != _WEBHOOK}
        recipients = entry.get("recipients", [])
        if _WEBHOOK in entry and isinstance(recipients, list):
            joined["recipients"] = [*recipients, _Webhook(entry[_WEBHOOK])]
        return joined

    @property
    def threshold(self) -> Threshold:
        """What the figure, or its change, is compared with."""
        return self.value or cast("Threshold", self.change)

    @property
    def condition(self) -> str:
        """The condition in words: ``below 10,000 EUR``, ``change below -20 % in 2 of 3 months``."""
        change = "" if self.value else "change "
        repeated = "" if self.periods.of == 1 else f" in {self.periods} {self.granularity}s"
        return f"{change}{self.comparison} {self.threshold}{repeated}"

    @property
    def definition(self) -> dict[str, object]:
        """The rule as a file would hold it, with everything that may be left out; ``parse_rule`` reads it."""
        return {
            "id": self.id,
            "description": self.description,
            "metric": self.metric.name,
            "granularity": str(self.granularity),
            **({} if self.company is None else {"company": self.company}),
            "comparison": str(self.comparison),
            "value" if self.value else "change": f"{self.threshold.amount:f} {self.threshold.unit}".rstrip(),
            "severity": str(self.severity),
            "periods": str(self.periods),
            "recipients": [str(address) for address in self.recipients],
            "no_data": str(self.no_data),
            "tell_within": ALWAYS if self.tell_within is None else f"{self.tell_within.days} days",
            # As rules of before have it, which stay the same.
            **({} if self.locale is None else {"locale": self.locale}),
        }

    @property
    def sha256(self) -> str:
        """What tells one version of the rule from another."""
        return hashlib.sha256(json.dumps(self.definition, sort_keys=True).encode()).hexdigest()


KEYS = (*Rule.model_fields, _WEBHOOK)


def parse_rule(entry: Mapping[str, object], *, currency: str | None = None, names: Names | None = None) -> Rule:
    """Return the rule that an entry of a file, or a stored definition, describes.

    Thresholds in money have to be in ``currency``, the reporting currency, and what an address names has to be among
    ``names``; None takes any. Raises ``RuleError`` with all that is wrong.
    """
    try:
        return Rule.model_validate(dict(entry), context=_Settings(currency, names))
    except ValidationError as error:
        wrong = sorted(error.errors(), key=lambda details: details["type"] != "extra_forbidden")
    # Each once: two recipients may be wrong in the same way.
    raise RuleError(*dict.fromkeys(map(_problem, wrong)))


def no_such_key(key: str, known: Collection[str]) -> str:
    """Return what is wrong with a key that is none of the known ones."""
    return f"there is no such key{_instead(key, known)}"


def _problem(details: "ErrorDetails") -> str:
    """Return what is wrong, in our words: every text of pydantic's is replaced by one that names the remedy."""
    key = str(details["loc"][0])
    match details["type"]:
        case "extra_forbidden":
            return f"{key}: {no_such_key(key, KEYS)}"
        case "missing":
            wanted = f"one of {', '.join(_CHOICES[key])}" if key in _CHOICES else "a text"
            return f"{key}: it is missing: give {wanted}"
        case _:
            error = details["ctx"]["error"]
            return f"{error.key or key}: {error}"


def _read_threshold(key: str, given: object, metric: Metric, currency: str | None) -> Threshold:
    text = given.strip() if isinstance(given, str) else str(given)
    shown, example = text[:_MAX_SHOWN_CHARACTERS], _example(key, metric, currency)
    match = None if isinstance(given, bool) else _amount(text)
    if match is None:
        raise _WrongError(f"{shown!r} is no number with its unit: write it like {example}")
    number, unit = match.groups()
    if key == "change" and unit == "%":
        return Threshold(Measure.GROWTH, Decimal(number), unit)
    if (what := _other_unit(key, unit, metric, currency)) is not None:
        raise _WrongError(f"{shown!r} doesn't fit {metric.name}, which is {what}: write it like {example}")
    return Threshold(Measure.VALUE if key == "value" else Measure.DIFFERENCE, Decimal(number), unit)


def _other_unit(key: str, unit: str, metric: Metric, currency: str | None) -> str | None:
    """Return what a figure is whose unit is another one, None if it is this one."""
    match metric.unit:
        case Unit.MONEY if not _is_currency(unit, currency):
            return f"money in the reporting currency{f', {currency}' if currency else ''}"
        case Unit.COUNT if unit:
            return "a count"
        case Unit.RATIO if unit:
            return "a ratio"
        case Unit.PERCENT if unit != ("%" if key == "value" else "points"):
            return "a rate in per cent"
    return None


def _is_currency(unit: str, currency: str | None) -> bool:
    try:
        return unit == (currency or require_currency(unit))
    except AnalyticsError:
        return False


def _example(key: str, metric: Metric, currency: str | None) -> str:
    sign = "-" if key == "change" else ""
    units = {Unit.MONEY: currency or "EUR", Unit.COUNT: "", Unit.RATIO: "", Unit.PERCENT: "points" if sign else "%"}
    own = repr(f"{sign}100 {units[metric.unit]}".rstrip())
    return f"{own} or '-20 %'" if sign else own


def _instead(word: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(word, known, n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
