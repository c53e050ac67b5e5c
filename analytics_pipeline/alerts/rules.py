"""A rule: which figure of whom is held against what, and who is told.

Belongs here: the form of a rule and every check of it. Does not belong here: its file (``rules_file``), its rows
(``store``), judging figures by it (``judge``).
"""

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from analytics_pipeline.alerts.catalogue import METRICS, Metric
from analytics_pipeline.currencies import require_currency
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.ids import MAX_ID_CHARACTERS
from analytics_pipeline.health.check_result import Severity
from analytics_pipeline.messages.addresses import Address, Names, parse_address, parse_addresses, require_configured
from analytics_pipeline.metrics.rates import Unit
from analytics_pipeline.metrics.tables import GRANULARITIES
from analytics_pipeline.windows import Granularity

EACH_COMPANY = "*"
ALWAYS = "always"
# As long as reports are mailed after their month has ended.
_TELL_WITHIN = "45 days"
_MAX_PERIODS = 100
_DESCRIPTION_CHARACTERS = 500

KEYS = (
    "id",
    "description",
    "metric",
    "granularity",
    "company",
    "comparison",
    "value",
    "change",
    "severity",
    "periods",
    "recipients",
    "webhook",
    "no_data",
    "tell_within",
)

# What a key is called in a sentence, where that is not its own name.
_NAMES = {"metric": "figure", "no_data": "choice"}

_is_id = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}").fullmatch
_amount = re.compile(r"([+-]?\d{1,20}(?:\.\d{1,18})?)\s*(\S*)").fullmatch
_periods = re.compile(r"(\d{1,3}) of (\d{1,3})").fullmatch
_days = re.compile(r"(\d{1,4}) days").fullmatch

_Choice = TypeVar("_Choice", bound=StrEnum)


class Comparison(StrEnum):
    """How a figure has to stand to the threshold for the rule to fire."""

    ABOVE = "above"
    BELOW = "below"
    AT_LEAST = "at least"
    AT_MOST = "at most"

    def holds(self, figure: Decimal, threshold: Decimal) -> bool:
        """Tell whether the figure stands so to the threshold."""
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
    """What is held against the threshold: the figure, its difference from the period before, or that in per cent."""

    VALUE = "value"
    DIFFERENCE = "difference"
    GROWTH = "growth"


class NoData(StrEnum):
    """Whether missing figures are told."""

    OK = "ok"
    ALERT = "alert"


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a figure is held against. ``unit`` is as the rule writes it: a currency, ``%``, ``points`` or nothing."""

    measure: Measure
    amount: Decimal
    unit: str

    def __str__(self) -> str:
        """Show it as a rule writes it, the number grouped."""
        return f"{self.amount:,f} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One checked rule.

    ``company`` None is all companies together, ``EACH_COMPANY`` every company on its own. The rule fires when
    ``needed`` of the last ``of`` periods stand to the threshold as ``comparison`` says. A period that ended longer
    ago than ``tell_within`` (None: never) is recorded, and nobody of ``addresses`` is notified.
    """

    id: str
    description: str
    metric: Metric
    granularity: Granularity
    company: str | None
    comparison: Comparison
    threshold: Threshold
    severity: Severity
    needed: int
    of: int
    addresses: tuple[Address, ...]
    no_data: NoData
    tell_within: timedelta | None

    @property
    def condition(self) -> str:
        """The condition in words: ``below 10,000 EUR``, ``change below -20 % in 2 of 3 months``."""
        change = "" if self.threshold.measure is Measure.VALUE else "change "
        repeated = "" if self.of == 1 else f" in {self.needed} of {self.of} {self.granularity}s"
        return f"{change}{self.comparison} {self.threshold}{repeated}"

    @property
    def definition(self) -> dict[str, object]:
        """The rule as a file would hold it, with everything that may be left out; ``parse_rule`` reads it."""
        threshold = f"{self.threshold.amount:f} {self.threshold.unit}".rstrip()
        return {
            "id": self.id,
            "description": self.description,
            "metric": self.metric.name,
            "granularity": str(self.granularity),
            **({} if self.company is None else {"company": self.company}),
            "comparison": str(self.comparison),
            "value" if self.threshold.measure is Measure.VALUE else "change": threshold,
            "severity": str(self.severity),
            "periods": f"{self.needed} of {self.of}",
            "recipients": [str(address) for address in self.addresses],
            "no_data": str(self.no_data),
            "tell_within": ALWAYS if self.tell_within is None else f"{self.tell_within.days} days",
        }

    @property
    def sha256(self) -> str:
        """What tells one version of the rule from another."""
        return hashlib.sha256(json.dumps(self.definition, sort_keys=True).encode()).hexdigest()


class RuleProblem(ValueError):  # noqa: N818  # a finding about a file, collected with others
    """What is wrong with one key of a rule, and what to write instead."""

    def __init__(self, key: str, text: str) -> None:
        """Take the key and a clause about it."""
        super().__init__(f"{key}: {text}")


class RuleProblems(ValueError):  # noqa: N818  # likewise
    """Everything that is wrong with a rule, in the order of its keys."""

    def __init__(self, problems: Sequence[RuleProblem]) -> None:
        """Take at least one problem."""
        super().__init__(*problems)
        self.problems = problems


def parse_rule(entry: Mapping[str, object], *, currency: str | None = None, names: Names | None = None) -> Rule:
    """Return the rule that an entry of a file, or a stored definition, describes.

    Thresholds in money have to be in ``currency``, the reporting currency, and what an address names has to be among
    ``names``; None takes any. Raises ``RuleProblems`` with all that is wrong.
    """
    if problems := _problems(entry, currency, names):
        raise RuleProblems(problems)
    metric = _metric(entry)
    needed, of = _needed_of(entry)
    return Rule(
        id=_id(entry),
        description=_description(entry),
        metric=metric,
        granularity=_granularity(entry),
        company=_company(entry),
        comparison=_comparison(entry),
        threshold=_threshold(entry, metric, currency),
        severity=_severity(entry),
        needed=needed,
        of=of,
        addresses=_addresses(entry, names),
        no_data=_no_data(entry),
        tell_within=_tell_within(entry),
    )


def _problems(entry: Mapping[str, object], currency: str | None, names: Names | None) -> list[RuleProblem]:
    parts: tuple[Callable[[Mapping[str, object]], object], ...] = (
        _id,
        _description,
        _metric,
        _granularity,
        _company,
        _comparison,
        # Of a figure that does not exist nobody knows the unit: its problem is the same one.
        lambda entry: _threshold(entry, _metric(entry), currency),
        _severity,
        _needed_of,
        lambda entry: _recipients(entry, names),
        lambda entry: _webhook(entry, names),
        _require_recipients,
        _no_data,
        _tell_within,
    )
    problems = {key: _no_such_key(key, KEYS) for key in entry if key not in KEYS}
    for part in parts:
        try:
            part(entry)
        except RuleProblem as problem:
            problems.setdefault(str(problem), problem)
    return list(problems.values())


def refuse_unknown_keys(entry: Mapping[str, object], known: Collection[str], of: str = "") -> None:
    """Raise ``RuleProblem`` for a key, of a table of the file, that is none of the known ones."""
    for key in entry:
        if key not in known:
            raise _no_such_key(key, known, of)


def _no_such_key(key: str, known: Collection[str], of: str = "") -> RuleProblem:
    return RuleProblem(f"{of}.{key}" if of else key, f"there is no such key{_instead(key, known)}")


def _id(entry: Mapping[str, object]) -> str:
    text = _text(entry, "id")
    if not _is_id(text):
        raise RuleProblem("id", f"{text!r} has to be small letters, digits, '-' and '_', like 'low-revenue'")
    return text


def _description(entry: Mapping[str, object]) -> str:
    text = " ".join(_text(entry, "description", "").split())
    if len(text) > _DESCRIPTION_CHARACTERS or not text.isprintable():
        raise RuleProblem("description", f"write at most {_DESCRIPTION_CHARACTERS} printable characters")
    return text


def _metric(entry: Mapping[str, object]) -> Metric:
    return METRICS[_one_of(entry, "metric", METRICS)]


def _granularity(entry: Mapping[str, object]) -> Granularity:
    return Granularity(_one_of(entry, "granularity", [str(granularity) for granularity in GRANULARITIES]))


def _comparison(entry: Mapping[str, object]) -> Comparison:
    return _choice(entry, "comparison", Comparison)


def _severity(entry: Mapping[str, object]) -> Severity:
    return _choice(entry, "severity", Severity)


def _no_data(entry: Mapping[str, object]) -> NoData:
    return _choice(entry, "no_data", NoData, NoData.OK)


def _company(entry: Mapping[str, object]) -> str | None:
    if "company" not in entry:
        return None
    text = _text(entry, "company")
    if not (0 < len(text) <= MAX_ID_CHARACTERS and text.isprintable()):
        raise RuleProblem(
            "company",
            f"{text[:MAX_ID_CHARACTERS]!r} is no id of a company: write one, '*' for each company on its own, or "
            "leave the key out for all of them together",
        )
    return text


def _threshold(entry: Mapping[str, object], metric: Metric, currency: str | None) -> Threshold:
    if ("value" in entry) == ("change" in entry):
        raise RuleProblem("value", "give either value, for the figure, or change, for what it gained or lost")
    key = "value" if "value" in entry else "change"
    raw = entry[key]
    text = raw.strip() if isinstance(raw, str) else str(raw)
    match = None if isinstance(raw, bool) else _amount(text)
    if match is None:
        raise RuleProblem(
            key, f"{text[:80]!r} is no number with its unit: write it like {_example(key, metric, currency)}"
        )
    number, unit = match.groups()
    if key == "change" and unit == "%":
        return Threshold(Measure.GROWTH, Decimal(number), unit)
    _require_unit(key, text, unit, metric, currency)
    return Threshold(Measure.VALUE if key == "value" else Measure.DIFFERENCE, Decimal(number), unit)


def _require_unit(key: str, text: str, unit: str, metric: Metric, currency: str | None) -> None:
    example = _example(key, metric, currency)
    match metric.unit:
        case Unit.MONEY:
            try:
                is_money = unit == (currency or require_currency(unit))
            except AnalyticsError:
                is_money = False
            if not is_money:
                raise RuleProblem(
                    key,
                    f"{text!r} doesn't fit {metric.name}, which is money in the reporting currency"
                    f"{f', {currency}' if currency else ''}: write it like {example}",
                )
        case Unit.COUNT if unit:
            raise RuleProblem(key, f"{text!r} doesn't fit {metric.name}, which is a count: write it like {example}")
        case Unit.RATIO if unit:
            raise RuleProblem(key, f"{text!r} doesn't fit {metric.name}, which is a ratio: write it like {example}")
        case Unit.PERCENT if unit != ("%" if key == "value" else "points"):
            raise RuleProblem(
                key,
                f"{text!r} doesn't fit {metric.name}, which is a rate in per cent: write it like {example}",
            )


def _example(key: str, metric: Metric, currency: str | None) -> str:
    sign = "-" if key == "change" else ""
    units = {Unit.MONEY: currency or "EUR", Unit.COUNT: "", Unit.RATIO: "", Unit.PERCENT: "points" if sign else "%"}
    own = repr(f"{sign}100 {units[metric.unit]}".rstrip())
    return f"{own} or '-20 %'" if sign else own


def _needed_of(entry: Mapping[str, object]) -> tuple[int, int]:
    text = _text(entry, "periods", "1 of 1")
    match = _periods(text)
    if match is None:
        raise RuleProblem("periods", f"{text!r} has to look like '2 of 3'")
    needed, of = int(match[1]), int(match[2])
    if not 1 <= needed <= of <= _MAX_PERIODS:
        raise RuleProblem(
            "periods", f"{text!r} can't be: at least 1, of as many or more, of at most {_MAX_PERIODS}, like '2 of 3'"
        )
    return needed, of


def _addresses(entry: Mapping[str, object], names: Names | None) -> tuple[Address, ...]:
    """Return whoever is notified, each once: the recipients, and the webhook that a file of before may name apart."""
    found = [*_recipients(entry, names), *_webhook(entry, names)]
    return tuple({address.key: address for address in reversed(found)}.values())[::-1]


def _recipients(entry: Mapping[str, object], names: Names | None) -> tuple[Address, ...]:
    given = entry.get("recipients", [])
    if not isinstance(given, list) or not all(isinstance(address, str) for address in given):
        raise RuleProblem("recipients", "write a list of addresses, like ['mail:ops@example.com', 'slack:ops']")
    try:
        addresses = parse_addresses(given)
        for address in addresses:
            require_configured(address, names or {})
    except ValueError as error:
        raise RuleProblem("recipients", str(error)) from error
    return addresses


def _require_recipients(entry: Mapping[str, object]) -> None:
    if "webhook" not in entry and not entry.get("recipients"):
        raise RuleProblem("recipients", "nobody is notified: write addresses here, like 'mail:ops@example.com'")


def _webhook(entry: Mapping[str, object], names: Names | None) -> list[Address]:
    if "webhook" not in entry:
        return []
    try:
        address = parse_address(f"webhook:{_text(entry, 'webhook')}")
        require_configured(address, names or {})
    except RuleProblem:
        raise
    except ValueError as error:
        raise RuleProblem("webhook", str(error)) from error
    return [address]


def _tell_within(entry: Mapping[str, object]) -> timedelta | None:
    text = _text(entry, "tell_within", _TELL_WITHIN)
    if text == ALWAYS:
        return None
    match = _days(text)
    if match is None:
        raise RuleProblem("tell_within", f"{text!r} has to look like '{_TELL_WITHIN}', or be '{ALWAYS}'")
    return timedelta(days=int(match[1]))


def _choice(entry: Mapping[str, object], key: str, choices: type[_Choice], default: _Choice | None = None) -> _Choice:
    return choices(_one_of(entry, key, [str(choice) for choice in choices], default))


def _one_of(entry: Mapping[str, object], key: str, choices: Collection[str], default: str | None = None) -> str:
    text = _text(entry, key, default, f"one of {', '.join(choices)}")
    if text not in choices:
        what = _NAMES.get(key, key)
        raise RuleProblem(
            key, f"there is no {what} {text[:80]!r}{_instead(text, choices)}: choose one of {', '.join(choices)}"
        )
    return text


def _text(entry: Mapping[str, object], key: str, default: str | None = None, wanted: str = "a text") -> str:
    value = entry.get(key, default)
    if value is None:
        raise RuleProblem(key, f"it is missing: give {wanted}")
    if not isinstance(value, str):
        raise RuleProblem(key, f"{value!r} is no text: put it between quotation marks")
    return value


def _instead(word: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(word, known, n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
