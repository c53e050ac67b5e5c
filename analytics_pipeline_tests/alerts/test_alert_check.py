"""From a closed partition to a mail and a webhook call: each once, whatever is repeated."""

import json
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from pydantic import SecretStr

from analytics_pipeline.alerts.alert_check import check_alerts
from analytics_pipeline.health.check_result import CheckResult, Severity
from analytics_pipeline.messages.decisions import list_messages
from analytics_pipeline.messages.delivery import channels_for, send_by_settings
from analytics_pipeline.messages.sending import count_due
from analytics_pipeline.metrics.tables import REVENUE_METRICS
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity
from analytics_pipeline_tests.alerts.figures_factory import close_revenue
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.messages.conftest import states
from analytics_pipeline_tests.messages.mail_catcher import Catcher, mail_server
from analytics_pipeline_tests.messages.webhook_catcher import Receiver, webhook_receiver

RULES = """
version = 1

[defaults]
tell_within = "always"
recipients = ["ops@example.com"]

[[rules]]
id = "low"
description = "Too little revenue"
metric = "total_revenue"
granularity = "month"
company = "*"
comparison = "below"
value = "100 EUR"
severity = "warning"
webhook = "ops"
"""
HOSTILE = "<b>Ac\nme</b>\r\nBcc: x@example.com"


@pytest.fixture
def catcher() -> Iterator[Catcher]:
    with mail_server() as catcher:
        yield catcher


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "alerts.toml"
    path.write_text(RULES, encoding="utf-8")
    return path


@pytest.fixture
def settings(shared_database: Database, rules: Path, catcher: Catcher, receiver: Receiver) -> Settings:
    return shared_database.settings.model_copy(
        update={
            "alert_rules": str(rules),
            "smtp_url": SecretStr(f"smtp://127.0.0.1:{catcher.port}"),
            "webhooks": SecretStr(f"ops={receiver.url}"),
            "ui_url": "https://dagster.example.com",
        }
    )


def _check(connection: Connection, settings: Settings) -> CheckResult:
    return check_alerts(connection, settings, REVENUE_METRICS, Granularity.MONTH)


def _told(receiver: Receiver) -> list[tuple[str, str]]:
    """Return the first company and the type of each message that came in, in their order."""
    bodies = [json.loads(request.body) for request in receiver.requests]
    return [(body["data"]["alerts"][0]["companyId"], body["type"]) for body in bodies]


def _html(mail: EmailMessage) -> str:
    part = mail.get_body(("html",))
    assert part is not None
    return str(part.get_content())


def test_a_rule_that_fires_reaches_mail_and_webhook_once_and_its_recovery_too(
    connection: Connection, settings: Settings, catcher: Catcher, receiver: Receiver
) -> None:
    close_revenue(connection, "2026-01", {HOSTILE: "80", "beta": "100"})
    finding = _check(connection, settings)
    assert (finding.passed, finding.severity, finding.subject) == (False, Severity.WARNING, "revenue_metrics_monthly")
    assert send_by_settings(connection, settings).sent == 2
    # Closing the partition again, and sending again, brings nothing more.
    close_revenue(connection, "2026-01", {HOSTILE: "70", "beta": "100"})
    _check(connection, settings)
    assert send_by_settings(connection, settings).sent == 0
    (mail,) = catcher.mails
    assert mail["Subject"] == (
        "[warning] low: <b>Ac me</b> Bcc: x@example.com total_revenue 80.00 EUR (below 100 EUR) 2026-01"
    )
    assert (mail["To"], mail["Bcc"]) == ("ops@example.com", None)
    assert catcher.senders[0][1] == ["ops@example.com"]
    assert "&lt;b&gt;Ac me&lt;/b&gt;" in _html(mail)
    assert "https://dagster.example.com/assets/revenue_metrics_monthly" in _html(mail)
    (request,) = receiver.requests
    assert json.loads(request.body)["data"]["alerts"][0]["companyId"] == HOSTILE
    close_revenue(connection, "2026-02", {HOSTILE: "100", "beta": "100"})
    assert _check(connection, settings).passed
    assert send_by_settings(connection, settings).sent == 2
    assert catcher.mails[1]["Subject"].startswith("[resolved] low: ")
    assert json.loads(receiver.requests[1].body)["type"] == "alert.resolved"
    assert receiver.requests[0].headers["webhook-id"] != receiver.requests[1].headers["webhook-id"]


def test_a_webhook_that_is_down_gets_the_same_message_later(
    connection: Connection, settings: Settings, receiver: Receiver, catcher: Catcher
) -> None:
    close_revenue(connection, "2026-01", {"acme": "80"})
    _check(connection, settings)
    receiver.answers = [503]
    report = send_by_settings(connection, settings)
    assert (report.sent, report.again, report.problems) == (1, 1, ["the webhook ops answered 503"])
    connection.execute("UPDATE analytics_outbox SET next_attempt_at = now() WHERE state = 'pending'")
    assert send_by_settings(connection, settings).sent == 1
    first, second = receiver.requests
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert len(catcher.mails) == 1


@pytest.mark.slow
def test_the_end_of_an_alert_and_its_next_beginning_never_overtake_a_message_that_is_tried_again(
    connection: Connection, settings: Settings, receiver: Receiver, catcher: Catcher
) -> None:
    close_revenue(connection, "2026-01", {"acme": "80", "beta": "100"})
    _check(connection, settings)
    receiver.answers = [503]
    catcher.refused["ops@example.com"] = "451 try again later"
    assert send_by_settings(connection, settings).again == 2
    catcher.refused.clear()
    for month, acme, beta in (("2026-02", "100", "70"), ("2026-03", "60", "70")):
        close_revenue(connection, month, {"acme": acme, "beta": beta})
        _check(connection, settings)
    channels = channels_for(settings)
    assert send_by_settings(connection, settings).sent == 2, "of another company"
    assert _told(receiver)[1:] == [("beta", "alert.firing")]
    assert (count_due(connection, channels), states(connection).count("pending")) == (0, 6)
    waiting = [row.problem for row in list_messages(connection, state="pending")]
    assert waiting.count("waits for an earlier message about the same alert") == 4
    connection.execute("UPDATE analytics_outbox SET next_attempt_at = now() WHERE state = 'pending'")
    assert send_by_settings(connection, settings).sent == 6
    assert _told(receiver)[2:] == [("acme", "alert.firing"), ("acme", "alert.resolved"), ("acme", "alert.firing")]
    assert [str(mail["Subject"]).partition(" ")[0] for mail in catcher.mails[1:]] == [
        "[warning]",
        "[resolved]",
        "[warning]",
    ]


@pytest.mark.slow
def test_one_message_about_many_companies_is_followed_by_those_about_each_of_them(
    connection: Connection, settings: Settings, receiver: Receiver
) -> None:
    companies = [f"c{number:02}" for number in range(12)]
    close_revenue(connection, "2026-01", dict.fromkeys(companies, "80"))
    _check(connection, settings)
    close_revenue(connection, "2026-02", dict.fromkeys(companies, "80") | {"c07": "100"})
    _check(connection, settings)
    receiver.answers = [503]
    assert send_by_settings(connection, settings).again == 1
    assert _told(receiver) == [("c00", "alert.firing")]
    connection.execute("UPDATE analytics_outbox SET next_attempt_at = now() WHERE state = 'pending'")
    send_by_settings(connection, settings)
    assert _told(receiver)[1:] == [("c00", "alert.firing"), ("c07", "alert.resolved")]


def test_the_finding_names_what_fires_in_the_latest_closed_period_alone(
    connection: Connection, settings: Settings
) -> None:
    close_revenue(connection, "2026-03", {"acme": "80"})
    finding = _check(connection, settings)
    assert finding.summary == "Rules fire: low: acme total_revenue 80.00 EUR (below 100 EUR) 2026-03."
    assert finding.metadata["firing rules"] == [
        {
            "rule": "low",
            "severity": "warning",
            "company": "acme",
            "period": "2026-03",
            "value": "80.00 EUR",
            "threshold": "below 100 EUR",
            "why": "",
        }
    ]
    assert finding.metadata["companies and periods judged"] == 1
    # Old months that are closed later are shown by nobody's latest period.
    close_revenue(connection, "2026-01", {"acme": "10"})
    close_revenue(connection, "2026-03", {"acme": "150"})
    assert _check(connection, settings).summary == "Of 1 rule none fires in [2026-03-01T00:00Z, 2026-04-01T00:00Z)."


def test_a_broken_file_fails_the_finding_and_the_rules_before_it_are_judged(
    connection: Connection, settings: Settings, rules: Path
) -> None:
    close_revenue(connection, "2026-01", {"acme": "150"})
    assert _check(connection, settings).passed
    rules.write_text(RULES.replace("total_revenue", "total_revenu"), encoding="utf-8")
    close_revenue(connection, "2026-02", {"acme": "80"})
    finding = _check(connection, settings)
    assert (finding.passed, finding.severity) == (False, Severity.ERROR)
    assert "rule 'low', metric: there is no figure 'total_revenu' (did you mean total_revenue" in finding.summary
    assert "The rules loaded before stay in force. Rules fire: low: acme" in finding.summary
    assert finding.metadata["messages enqueued"] == 2
    # A fixed file counts by itself.
    rules.write_text(RULES.replace("100 EUR", "70 EUR"), encoding="utf-8")
    assert _check(connection, settings).passed


def test_a_file_that_is_gone_fails_only_if_it_is_named(connection: Connection, settings: Settings, rules: Path) -> None:
    close_revenue(connection, "2026-01", {"acme": "150"})
    _check(connection, settings)
    rules.unlink()
    assert "it can't be read" in _check(connection, settings).summary
    unnamed = settings.model_copy(update={"alert_rules": "", "home": rules.parent})
    finding = _check(connection, unnamed)
    assert (finding.passed, finding.metadata["rules"]) == (True, 1)
    # The file in the home folder is found by itself.
    rules.write_text("version = 1", encoding="utf-8")
    assert _check(connection, unnamed).summary == "No rule watches these figures."


def test_rules_of_a_webhook_that_is_not_set_are_refused(connection: Connection, settings: Settings) -> None:
    finding = _check(connection, settings.model_copy(update={"webhooks": None}))
    assert "rule 'low', webhook: ANALYTICS_WEBHOOKS has no 'ops'" in finding.summary
    unsafe = settings.model_copy(update={"webhooks": SecretStr("ops=http://hooks.example.com/T0KEN")})
    finding = _check(connection, unsafe)
    assert "ANALYTICS_WEBHOOKS can't be used" in finding.summary
    assert "T0KEN" not in finding.summary


def test_nothing_closed_and_nothing_to_judge_pass(connection: Connection, settings: Settings) -> None:
    assert _check(connection, settings).summary == "Nothing is closed yet."
