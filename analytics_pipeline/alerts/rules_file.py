"""The file of rules: TOML, version 1, checked as a whole before anything of it counts, and what it puts in force."""

import shlex
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from analytics_pipeline.alerts.active_rules import ActiveRule, active_rules, lock_alerts, put_in_force, retire
from analytics_pipeline.alerts.lifecycle import NO_CALENDARS, Changes, close, covers, open_alerts
from analytics_pipeline.alerts.rules import EACH_COMPANY, Rule, RuleError, no_such_key, parse_rule
from analytics_pipeline.companies.calendar import Calendars, all_calendars
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.addresses import Names, configured_names
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.text import printable_line
from analytics_pipeline.timescale.connection import Connection

VERSION = 1
_KEYS = ("version", "defaults", "rules")
# What many rules may share; the rest says what a rule is.
_DEFAULTS = ("granularity", "severity", "periods", "recipients", "webhook", "no_data", "tell_within", "locale")
_NO_RULE = "rules: every rule begins with a line [[rules]]"


class RulesFileError(AnalyticsError):
    """A file that is refused: the message names the first problem, ``problems`` has all."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        """Take the file and clauses that name rule, key and remedy."""
        # A key may hold anything: none of it makes another line.
        self.problems = [printable_line(f"{path}: {problem}.") for problem in problems]
        more = len(problems) - 1
        rest = (
            f" And {more} more: 'analytics-pipeline alerts check {shlex.quote(str(path))}' lists them." if more else ""
        )
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
    except RuleError as error:
        raise RulesFileError(path, list(error.problems)) from error
    names = configured_names(settings)
    rules: dict[str, Rule] = {}
    problems = []
    for number, entry in enumerate(entries, start=1):
        try:
            rule = _rule(entry, defaults, settings.base_currency, names, taken=rules)
            rules[rule.id] = rule
        except RuleError as error:
            problems += [f"{_name(entry, number)}, {problem}" for problem in error.problems]
    if problems:
        raise RulesFileError(path, problems)
    return list(rules.values())


def _parts(content: Mapping[str, object]) -> tuple[list[object], Mapping[str, object]]:
    if unknown := [f"{key}: {no_such_key(key, _KEYS)}" for key in content if key not in _KEYS]:
        raise RuleError(*unknown)
    version = content.get("version")
    if version != VERSION or isinstance(version, bool):
        raise RuleError(f"version: it has to be {VERSION}: begin the file with 'version = {VERSION}'")
    entries = content.get("rules", [])
    if not isinstance(entries, list):
        raise RuleError(_NO_RULE)
    defaults = content.get("defaults", {})
    if not isinstance(defaults, dict):
        raise RuleError("defaults: what rules share follows a line [defaults]")
    if unknown := [f"defaults.{key}: {no_such_key(key, _DEFAULTS)}" for key in defaults if key not in _DEFAULTS]:
        raise RuleError(*unknown)
    return entries, defaults


def _rule(
    entry: object, defaults: Mapping[str, object], currency: str, names: Names, *, taken: Collection[str]
) -> Rule:
    if not isinstance(entry, dict):
        raise RuleError(_NO_RULE)
    given = {**defaults, **entry}
    # Figures over all companies are in the platform's currency, those of a company in its own.
    rule = parse_rule(given, currency=None if given.get("company") else currency, names=names)
    if rule.id in taken:
        raise RuleError("id: another rule has it, too: give each its own")
    return rule


def _name(entry: object, number: int) -> str:
    given = entry.get("id") if isinstance(entry, dict) else None
    return f"rule {given!r}" if isinstance(given, str) else f"rule number {number}"


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """Ids of rules by what a file did to them, and how many alerts and messages that came to."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]
    alerts: Changes

    def __str__(self) -> str:
        """Say it for people."""
        ids = {"added": self.added, "changed": self.changed, "removed": self.removed}
        named = [f"{len(rules)} {what} ({', '.join(rules)})" for what, rules in ids.items() if rules]
        return "; ".join([*named, f"{len(self.unchanged)} as before"])


def load_rules(
    connection: Connection, rules: Sequence[Rule], *, calendars: Calendars = NO_CALENDARS, ui_url: str = ""
) -> LoadedRules:
    """Put rules in force, instead of those that are, in one transaction; loading the same again changes nothing.

    The alerts of a rule that is gone, or no longer covers them, are closed, and whoever was notified of them is
    notified, with the names that companies have in ``calendars``, and a link to the UI at ``ui_url``, if there is one.
    """
    with connection.transaction():
        lock_alerts(connection)
        before = {active.rule.id: active for active in active_rules(connection)}
        wanted = {rule.id: rule for rule in rules}
        changed = [rule for rule in rules if rule.id in before and before[rule.id].rule != rule]
        added = [rule for rule in rules if rule.id not in before]
        removed = [active for active in before.values() if active.rule.id not in wanted]
        alerts = Changes()
        for active in removed:
            alerts.add(_close_uncovered(connection, active, None, calendars, ui_url))
            retire(connection, active.rule.id)
        for rule in changed:
            alerts.add(_close_uncovered(connection, before[rule.id], rule, calendars, ui_url))
            retire(connection, rule.id)
            put_in_force(connection, rule)
        for rule in added:
            put_in_force(connection, rule)
    return LoadedRules(
        added=tuple(rule.id for rule in added),
        changed=tuple(rule.id for rule in changed),
        removed=tuple(active.rule.id for active in removed),
        unchanged=tuple(rule.id for rule in rules if rule.id in before and rule not in changed),
        alerts=alerts,
    )


def load_configured(connection: Connection, settings: Settings) -> LoadedRules | None:
    """Load the file of the settings, if there is one; None: the rules stay as they are.

    Raises ``RulesFileError`` for a file that is refused: then they stay as they are, too.
    """
    path = settings.alert_rules_file
    if path is None:
        return None
    rules, calendars = read_rules(path, settings), all_calendars(connection, settings)
    return load_rules(connection, rules, calendars=calendars, ui_url=settings.ui_url)


def unknown_companies(connection: Connection, rules: Sequence[Rule]) -> list[str]:
    """Return the companies that rules name and that have no closed figures: perhaps they are misspelt."""
    companies = {rule.company for rule in rules} - {None, EACH_COMPANY}
    rows = connection.execute(load_query("alert_unknown_companies"), {"companies": list(companies)})
    return [company for (company,) in rows]


def _close_uncovered(
    connection: Connection, before: ActiveRule, after: Rule | None, calendars: Calendars, ui_url: str
) -> Changes:
    """Close the alerts of a rule that the rule after it does not cover, or not for all who were notified."""
    is_same_figure = (
        after is not None and after.metric == before.rule.metric and after.granularity is before.rule.granularity
    )
    notifies_all = after is not None and _keys(before.rule) <= _keys(after)
    uncovered = [
        alert
        for alert in open_alerts(connection, [before.rule.id])
        if after is None or not is_same_figure or not notifies_all or not covers(after, alert)
    ]
    return close(connection, before, uncovered, calendars=calendars, ui_url=ui_url)


def _keys(rule: Rule) -> set[str]:
    return {address.key for address in rule.recipients}
