"""The rules in force, as rows of ``analytics_alert_rules``."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from analytics_pipeline.alerts.rules import Rule, parse_rule
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection


@dataclass(frozen=True, slots=True)
class ActiveRule:
    """A rule in force, and which version of it that is."""

    rule: Rule
    revision: int
    loaded_at: datetime


def lock_alerts(connection: Connection) -> None:
    """Let one process at a time change rules and alerts, to the end of the transaction.

    It has to be the transaction's first statement: what is read before may be older than the lock.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('analytics_alerts', 0))")


def active_rules(connection: Connection) -> list[ActiveRule]:
    """Return the rules in force, by id."""
    rows = connection.execute(load_query("alert_rules")).fetchall()
    return [ActiveRule(parse_rule(definition), revision, *of_row) for definition, revision, *of_row in rows]


def put_in_force(connection: Connection, rule: Rule) -> None:
    """Add a rule as its next revision; the one before it has to be retired."""
    connection.execute(
        load_query("alert_rule_add"),
        {"rule": rule.id, "definition": Jsonb(rule.definition), "sha256": rule.sha256},
    )


def retire(connection: Connection, rule_id: str) -> None:
    """Let a rule be in force no more."""
    connection.execute(load_query("alert_rule_retire"), {"rule": rule_id})
