"""Brings the rules in force to what a file says.

Belongs here: what a new, changed or removed rule means for the one in force and for its alerts. Does not belong
here: reading the file (``rules_file``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from analytics_pipeline.alerts.incidents import Changes, close, covers, open_alerts
from analytics_pipeline.alerts.rules import EACH_COMPANY, Rule
from analytics_pipeline.alerts.rules_file import read_rules
from analytics_pipeline.alerts.store import ActiveRule, active_rules, lock_alerts, put_in_force, retire
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection


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
        told = [f"{len(rules)} {what} ({', '.join(rules)})" for what, rules in ids.items() if rules]
        return "; ".join([*told, f"{len(self.unchanged)} as before"])


def load_rules(connection: Connection, rules: Sequence[Rule], *, ui_url: str = "") -> LoadedRules:
    """Put rules in force, instead of those that are, in one transaction; loading the same again changes nothing.

    The alerts of a rule that is gone, or no longer covers them, are closed, and whoever was told of them is told so,
    with a link to the UI at ``ui_url``, if there is one.
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
            alerts.add(_close_uncovered(connection, active, None, ui_url))
            retire(connection, active.rule.id)
        for rule in changed:
            alerts.add(_close_uncovered(connection, before[rule.id], rule, ui_url))
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
    return None if path is None else load_rules(connection, read_rules(path, settings), ui_url=settings.ui_url)


def unknown_companies(connection: Connection, rules: Sequence[Rule]) -> list[str]:
    """Return the companies that rules name and that have no closed figures: perhaps they are misspelt."""
    companies = {rule.company for rule in rules} - {None, EACH_COMPANY}
    rows = connection.execute(load_query("alert_unknown_companies"), {"companies": list(companies)})
    return [company for (company,) in rows]


def _close_uncovered(connection: Connection, before: ActiveRule, after: Rule | None, ui_url: str) -> Changes:
    """Close the alerts of a rule that what comes after it says nothing of, or not to all who were told."""
    is_same_figure = (
        after is not None and after.metric == before.rule.metric and after.granularity is before.rule.granularity
    )
    tells_all = after is not None and _keys(before.rule) <= _keys(after)
    uncovered = [
        alert
        for alert in open_alerts(connection, [before.rule.id])
        if after is None or not is_same_figure or not tells_all or not covers(after, alert)
    ]
    return close(connection, before, uncovered, ui_url=ui_url)


def _keys(rule: Rule) -> set[str]:
    return {address.key for address in rule.addresses}
