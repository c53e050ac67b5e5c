"""The file of rules: TOML, version 1, checked as a whole before anything of it counts.

Belongs here: reading the file and telling everything that is wrong with it. The form of a rule: ``rules``.
"""

import tomllib
from collections.abc import Collection, Mapping
from decimal import Decimal
from pathlib import Path

from analytics_pipeline.alerts.rules import Rule, RuleProblem, RuleProblems, parse_rule, refuse_unknown_keys
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.addresses import Names, configured_names
from analytics_pipeline.settings import Settings

VERSION = 1
_KEYS = ("version", "defaults", "rules")
# What many rules may share; the rest says what a rule is.
_DEFAULTS = ("granularity", "severity", "periods", "recipients", "webhook", "no_data", "tell_within")


class RulesFileError(AnalyticsError):
    """A file that is refused: the message names the first problem, ``problems`` has all."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        """Take the file and clauses that name rule, key and remedy."""
        self.problems = [f"{path}: {problem}." for problem in problems]
        more = len(problems) - 1
        rest = f" And {more} more: 'analytics-pipeline alerts check {path}' lists them." if more else ""
        super().__init__(f"{self.problems[0]}{rest}")


def read_rules(path: Path, settings: Settings) -> list[Rule]:
    """Return the rules of a file, in its order.

    Raises ``RulesFileError`` for a file that can't be read or holds anything that is not a rule for these settings.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        is_configured = settings.alert_rules and settings.alert_rules_file == path
        named = "; ANALYTICS_ALERT_RULES names it" if is_configured else ""
        raise RulesFileError(path, [f"it can't be read: {error.strerror}{named}"]) from error
    # Beside what is no TOML or no text: numbers too large to be any, and brackets deeper than Python goes.
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise RulesFileError(path, [f"it is no TOML: {error}"]) from error
    try:
        entries, defaults = _parts(content)
    except RuleProblem as problem:
        raise RulesFileError(path, [str(problem)]) from problem
    return _rules(path, entries, defaults, settings)


def _parts(content: Mapping[str, object]) -> tuple[list[object], Mapping[str, object]]:
    refuse_unknown_keys(content, _KEYS)
    version = content.get("version")
    if version != VERSION or isinstance(version, bool):
        raise RuleProblem("version", f"it has to be {VERSION}: begin the file with 'version = {VERSION}'")
    entries = content.get("rules", [])
    if not isinstance(entries, list):
        raise RuleProblem("rules", "every rule begins with a line [[rules]]")
    defaults = content.get("defaults", {})
    if not isinstance(defaults, dict):
        raise RuleProblem("defaults", "what rules share follows a line [defaults]")
    refuse_unknown_keys(defaults, _DEFAULTS, of="defaults")
    return entries, defaults


def _rules(path: Path, entries: list[object], defaults: Mapping[str, object], settings: Settings) -> list[Rule]:
    names = configured_names(settings)
    rules: dict[str, Rule] = {}
    problems = []
    for number, entry in enumerate(entries, start=1):
        try:
            rule = _rule(entry, defaults, settings.base_currency, names, taken=rules)
            rules[rule.id] = rule
        except RuleProblem as problem:
            problems.append(f"{_name(entry, number)}, {problem}")
        except RuleProblems as wrong:
            problems += [f"{_name(entry, number)}, {problem}" for problem in wrong.problems]
    if problems:
        raise RulesFileError(path, problems)
    return list(rules.values())


def _rule(
    entry: object, defaults: Mapping[str, object], currency: str, names: Names, *, taken: Collection[str]
) -> Rule:
    if not isinstance(entry, dict):
        raise RuleProblem("rules", "every rule begins with a line [[rules]]")
    rule = parse_rule({**defaults, **entry}, currency=currency, names=names)
    if rule.id in taken:
        raise RuleProblem("id", "another rule has it, too: give each its own")
    return rule


def _name(entry: object, number: int) -> str:
    given = entry.get("id") if isinstance(entry, dict) else None
    return f"rule {given!r}" if isinstance(given, str) else f"rule number {number}"
