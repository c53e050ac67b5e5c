"""Acts of operators are kept in the transaction of the act, with who did it, and can't be taken back."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from click.testing import CliRunner

from analytics_pipeline.cli import main
from analytics_pipeline.events.rename import StoredId, rename_id
from analytics_pipeline.messages.decisions import discard_messages
from analytics_pipeline.messages.recipients import add_recipient, remove_everywhere
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.policies import change_policies, preview_policies
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline_tests.conftest import Database


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


def test_an_act_is_kept_with_who_when_and_what_and_only_if_it_is_committed(connection: Connection) -> None:
    number = audit.record(connection, "grant.add", "anna", {"company": "acme"})
    with connection.transaction(force_rollback=True):
        audit.record(connection, "grant.add", "bert", {})
    (act,) = audit.list_acts(connection)
    assert (act.audit_id, act.act, act.subject, act.details) == (number, "grant.add", "anna", {"company": "acme"})
    assert act.actor == audit.local_actor()
    assert fetch_row(connection, "SELECT session_user::text, now() - %s < '1 hour'", [act.happened_at]) == (
        act.session_role,
        True,
    )
    audit.record(connection, "token.revoke", "t1", {}, actor="token of the portal")
    assert audit.list_acts(connection, act="token", limit=1)[0].actor == "token of the portal"
    assert [each.subject for each in audit.list_acts(connection, act="grant")] == ["anna"]


def test_nobody_changes_or_removes_what_is_kept(connection: Connection) -> None:
    audit.record(connection, "grant.add", "anna", {})
    for statement in (
        "UPDATE analytics_audit SET subject = 'bert'",
        "DELETE FROM analytics_audit",
        "TRUNCATE analytics_audit",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only ever added to"):
            connection.execute(statement)
    assert [each.subject for each in audit.list_acts(connection)] == ["anna"]


def test_what_operators_do_is_kept_once_for_each_act_and_nothing_for_what_changed_nothing(
    connection: Connection,
) -> None:
    server = server_info(connection)
    preview_policies(connection, server, {"retention": "5 years"})
    change_policies(connection, server, {"retention": "5 years"})
    change_policies(connection, server, {"retention": "5 years"})
    for _ in range(2):
        add_recipient(connection, "acme", "monthly_report", "anna@example.com")
    remove_everywhere(connection, "anna@example.com")
    (message,) = fetch_row(
        connection,
        "INSERT INTO analytics_outbox (kind, channel, dedupe_key, target, subject, text_body, due_at) "
        "VALUES ('alert', 'webhook', 'k', 'ops', 's', 't', now()) RETURNING outbox_id",
    )
    discard_messages(connection, [message])
    rename_id(connection, StoredId("acme", None), "acme2")
    acts = [(each.act, each.subject) for each in reversed(audit.list_acts(connection))]
    assert acts == [
        ("policy.change", "analytics_events"),
        ("recipient.add", "anna@example.com"),
        ("recipient.remove", "anna@example.com"),
        ("message.discard", str(message)),
        ("id.rename", "acme"),
    ]
    change = audit.list_acts(connection, act="policy.change")[0].details
    assert (change["from"]["retention"], change["to"]["retention"]) == ("never", "5 years")


def test_the_command_lists_the_newest_first_as_lines_and_as_json(connection: Connection) -> None:
    assert CliRunner().invoke(main, ["access", "audit"]).stdout == "No such act is known.\n"
    for subject in ("anna", "forged\nline"):
        audit.record(connection, "grant.add", subject, {"company": None})
    lines = CliRunner().invoke(main, ["access", "audit"]).stdout.splitlines()
    assert len(lines) == 2
    assert "grant.add  forged\\nline" in lines[0]
    rows = json.loads(CliRunner().invoke(main, ["access", "audit", "--json", "--subject", "anna"]).stdout)
    assert [(row["act"], row["subject"], row["details"]) for row in rows] == [("grant.add", "anna", {"company": None})]
