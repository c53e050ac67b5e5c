"""``mail_delivered``: what was not delivered, what nobody knows of, what waits too long."""

import pytest

from analytics_pipeline.health.check_result import State
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.health.conftest import Ask, setting
from analytics_pipeline_tests.messages.sample_messages import put

CHECK, REPORT = "mail_delivered", "monthly_report"


def test_an_empty_outbox_and_delivered_messages_pass(connection: Connection, ask: Ask) -> None:
    assert ask(CHECK, REPORT).passed
    put(connection, to="a@example.com")
    assert ask(CHECK, REPORT).passed, "it has only just been put in"
    connection.execute("UPDATE analytics_outbox SET state = 'sent', sent_at = now(), settled_at = now()")
    assert ask(CHECK, REPORT).metadata["sent"] == 1


@pytest.mark.parametrize("state", ["failed", "unknown"])
def test_what_failed_or_is_unknown_is_an_error_for_two_weeks(connection: Connection, ask: Ask, state: str) -> None:
    put(connection, to="a@example.com")
    connection.execute(
        "UPDATE analytics_outbox SET state = %s, problem = %s, settled_at = now() - interval '13 days'",
        [state, "550\n\x1b[31mno"],
    )
    finding = ask(CHECK, REPORT)
    assert finding.state is State.ERROR
    assert f"analytics-pipeline outbox list --state {state}" in finding.remedies
    (message,) = connection.execute("SELECT outbox_id FROM analytics_outbox").fetchall()
    assert f": a@example.com (message {message[0]}: 550 [31mno)" in finding.summary
    connection.execute("UPDATE analytics_outbox SET settled_at = now() - interval '15 days'")
    assert ask(CHECK, REPORT).passed
    connection.execute("UPDATE analytics_outbox SET state = 'discarded', settled_at = now()")
    assert ask(CHECK, REPORT).passed


def test_what_waits_for_more_than_an_hour_is_a_warning(
    connection: Connection, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(connection, to="a@example.com")
    connection.execute("UPDATE analytics_outbox SET due_at = now() - interval '61 minutes'")
    finding = ask(CHECK, REPORT)
    assert finding.state is State.WARNING
    assert "ANALYTICS_SMTP_URL is not set" in finding.summary
    setting(monkeypatch, smtp_url="smtp://localhost")
    assert "the list says why" in ask(CHECK, REPORT).summary
    put(connection, to="slack:ops")
    connection.execute("UPDATE analytics_outbox SET due_at = now() - interval '61 minutes'")
    assert (
        "2 messages have been waiting for more than an hour: ANALYTICS_SLACK is not set" in ask(CHECK, REPORT).summary
    )


def test_operators_who_cannot_be_notified_are_an_error(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, operators="slack:ops")
    finding = ask(CHECK, REPORT)
    assert finding.state is State.ERROR
    assert "Nobody is notified of failures: ANALYTICS_OPERATORS: ANALYTICS_SLACK has no 'ops'" in finding.summary


def test_a_message_whose_sender_died_is_judged_by_how_far_it_came(connection: Connection, ask: Ask) -> None:
    put(connection, to="a@example.com")
    connection.execute(
        "UPDATE analytics_outbox SET state = 'sending', claimed_by = 'x', lease_until = now() - interval '1 minute', "
        "transmitting_at = now(), due_at = now() - interval '2 hours'"
    )
    assert ask(CHECK, REPORT).state is State.ERROR
    connection.execute("UPDATE analytics_outbox SET transmitting_at = NULL")
    assert ask(CHECK, REPORT).state is State.WARNING
