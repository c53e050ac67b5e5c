"""One outbox, any number of channels: addresses, and a failure that reaches all of them once."""

import json
import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from analytics_pipeline.messages.addresses import Address, parse_address, parse_addresses
from analytics_pipeline.messages.channels import CHANNELS
from analytics_pipeline.messages.delivery import send_by_settings
from analytics_pipeline.messages.incidents import Failure, enqueue_due, record_failure, record_recovery
from analytics_pipeline.messages.sending import SendReport
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.events_factory import at
from analytics_pipeline_tests.messages import test_pagerduty, test_slack, test_teams
from analytics_pipeline_tests.messages.conftest import states
from analytics_pipeline_tests.messages.mail_catcher import Catcher
from analytics_pipeline_tests.messages.sample_messages import put
from analytics_pipeline_tests.messages.webhook_catcher import webhook_receiver


def test_an_address_names_a_channel_and_a_mail_address_stands_alone() -> None:
    for text, channel, target in (
        ("finance@example.com", "mail", "finance@example.com"),
        ("mail:finance@b\u00fccher.example", "mail", "finance@xn--bcher-kva.example"),
        ("webhook:ops", "webhook", "ops"),
        ("slack:ops-2", "slack", "ops-2"),
        ("teams:ops", "teams", "ops"),
        ("pagerduty:ops", "pagerduty", "ops"),
        ("folder:/var/spool/x", "folder", "/var/spool/x"),
        ("log:error", "log", "error"),
    ):
        assert parse_address(text) == Address(channel, target)
    assert set(CHANNELS) == {"mail", "webhook", "slack", "teams", "pagerduty", "folder", "log"}
    assert list(map(str, parse_addresses(["A@x.com", "slack:ops", "mail:a@X.com"]))) == ["mail:A@x.com", "slack:ops"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("slak:ops", r"'slak' is no channel \(did you mean slack\?\): write an address like mail:finance@example.com"),
        ("slack:https://hooks.slack.com/SECRET", "'https:...' is no name"),
        ("https://hooks.slack.com/SECRET", "'https' is no channel"),
        ("slack:", "is no name"),
        ("webhook:Ops", "is no name"),
        ("mail:ops", "is not a mail address"),
        ("ops", "is not a mail address"),
        ("folder:spool", "is no folder"),
        ("log:loud", "the log has no level 'loud': choose one of info, warning, error"),
    ],
)
def test_what_is_no_address_is_named_with_what_one_looks_like(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refusal:
        parse_address(text)
    assert "SECRET" not in str(refusal.value)


def test_a_failure_and_its_recovery_reach_every_channel_once(
    connection: Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        webhook_receiver() as slack,
        webhook_receiver() as teams,
        webhook_receiver() as pager,
        webhook_receiver() as own,
    ):
        slack.check, teams.check, pager.check = test_slack.checked, test_teams.checked, test_pagerduty.checked
        test_teams.LOST.clear()
        settings = Settings(
            slack=SecretStr(f"ops={slack.url}"),
            teams=SecretStr(f"ops={teams.url}"),
            pagerduty=SecretStr(f"ops={test_pagerduty.KEY}"),
            pagerduty_url=pager.url.partition("?")[0],
            webhooks=SecretStr(f"ops={own.url}"),
        )
        names = ["slack:ops", "teams:ops", "pagerduty:ops", "webhook:ops", f"folder:{tmp_path / 'spool'}", "log:error"]
        addresses = parse_addresses(names)
        failure = Failure("run", "daily <b>", at("2025-03-05T12:00"), "boom", "fix it", link="https://ui.example.com/1")
        for _ in range(2):
            record_failure(connection, failure)
            enqueue_due(connection, addresses)
            with caplog.at_level(logging.WARNING):
                send_by_settings(connection, settings)
        record_recovery(connection, "run", "daily <b>", at("2025-03-05T13:00"))
        for _ in range(2):
            enqueue_due(connection, addresses)
            with caplog.at_level(logging.WARNING):
                send_by_settings(connection, settings)
        subjects = ["[analytics] failed: daily <b>", "[analytics] recovered: daily <b>"]
        assert states(connection) == ["sent"] * 12
        assert [posted["blocks"][0]["text"]["text"] for posted in slack.posted] == subjects
        cards = [posted["attachments"][0]["content"] for posted in teams.posted]
        assert [card["body"][0]["inlines"][0]["text"] for card in cards] == subjects
        assert [posted["event_action"] for posted in pager.posted] == ["trigger", "resolve"]
        assert [(posted["type"], posted["text"]) for posted in own.posted] == [
            ("failure.failed", subjects[0]),
            ("failure.recovered", subjects[1]),
        ]
        assert own.posted[0]["data"]["failures"][0]["error"] == "boom"
        assert test_teams.LOST == []
    mails = sorted(path.read_text() for path in (tmp_path / "spool").iterdir())
    assert len(mails) == 2
    assert all("<b>" not in mail.partition("text/html")[2] for mail in mails)
    lines = [record for record in caplog.records if record.name == "analytics_pipeline.messages"]
    assert [(record.levelname, record.getMessage().split(": ")[0]) for record in lines] == [
        ("ERROR", "[analytics] failed"),
        ("ERROR", "[analytics] recovered"),
    ]


def test_no_secret_is_in_a_row(connection: Connection) -> None:
    record_failure(connection, Failure("run", "daily", at("2025-03-05T12:00"), "boom", "fix it"))
    enqueue_due(connection, parse_addresses(["slack:ops", "teams:ops", "pagerduty:ops", "webhook:ops"]))
    secrets = Settings(
        slack=SecretStr("ops=https://hooks.slack.com/SECRET"),
        teams=SecretStr("ops=https://a.logic.azure.com/SECRET"),
        pagerduty=SecretStr("ops=SECRET"),
        pagerduty_url="https://127.0.0.1:1/",
    )
    rows = json.dumps([str(row) for row in connection.execute("SELECT * FROM analytics_outbox").fetchall()])
    assert "SECRET" not in rows + repr(secrets)


@pytest.mark.parametrize("status", [404, 500, 200])
def test_a_server_that_repeats_what_it_was_sent_makes_no_secret_known(connection: Connection, status: int) -> None:
    with webhook_receiver() as receiver:
        receiver.check = lambda body: (status, f"Cannot POST {receiver.requests[-1].path} {body.get('routing_key')}")
        url = f"http://127.0.0.1:{receiver.port}/services/T0SECRET/B0%20SECRET?sig=SECRET"
        settings = Settings(
            slack=SecretStr(f"ops={url}"),
            teams=SecretStr(f"ops={url}"),
            pagerduty=SecretStr(f"ops={'5EC' * 10}12"),
            pagerduty_url=f"http://127.0.0.1:{receiver.port}/",
            webhooks=SecretStr(f"ops={url}"),
        )
        record_failure(connection, Failure("run", "daily", at("2025-03-05T12:00"), "boom", "fix it"))
        enqueue_due(connection, parse_addresses(["slack:ops", "teams:ops", "pagerduty:ops", "webhook:ops"]))
        report = str(send_by_settings(connection, settings))
    problems = str(connection.execute("SELECT problem FROM analytics_outbox").fetchall())
    assert "Cannot POST ***" in problems
    assert "SECRET" not in problems + report
    assert "5EC5EC" not in problems + report


def test_the_shortest_part_of_an_address_is_not_shown_either(connection: Connection) -> None:
    with webhook_receiver() as receiver:
        receiver.check = lambda _: (404, "No key k7 in room q: 9x of k7, pin=9x, is none of the tokens; quiet, 9xy")
        url = f"http://127.0.0.1:{receiver.port}/k7/q?pin=9x"
        record_failure(connection, Failure("run", "daily", at("2025-03-05T12:00"), "boom", "fix it"))
        enqueue_due(connection, parse_addresses(["webhook:ops"]))
        send_by_settings(connection, Settings(webhooks=SecretStr(f"ops={url}")))
    (problem,) = fetch_row(connection, "SELECT problem FROM analytics_outbox")
    assert "No key *** in room ***: *** of ***, ***, is none of the tokens; quiet, 9xy" in problem


def test_secrets_come_from_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLACK", "TEAMS", "PAGERDUTY"):
        path = tmp_path / name
        path.write_text(f"ops=https://example.com/{name}\n")
        monkeypatch.setenv(f"ANALYTICS_{name}_FILE", str(path))
    settings = Settings()
    for name in ("slack", "teams", "pagerduty"):
        assert CHANNELS[name].names(settings) == {"ops": f"https://example.com/{name.upper()}"}


def test_who_sends_messages_of_one_kind_leaves_the_others_to_the_job_that_answers_for_them(
    connection: Connection, catcher: Catcher
) -> None:
    settings = Settings(smtp_url=SecretStr(f"smtp://127.0.0.1:{catcher.port}"))
    put(connection, "alert of a sender that died")
    connection.execute(
        "UPDATE analytics_outbox SET state = 'sending', claimed_by = 'x', lease_until = now() - interval '1 minute', "
        "transmitting_at = now()"
    )
    put(connection, "alert")
    record_failure(connection, Failure("run", "daily", at("2025-03-05T12:00"), "boom", "fix it"))
    enqueue_due(connection, parse_addresses(["ops@example.com"]))
    assert send_by_settings(connection, settings, kinds=["failure"]) == SendReport(sent=1)
    assert states(connection) == ["sending", "pending", "sent"]
    report = send_by_settings(connection, settings)
    assert (report.sent, report.unknown) == (1, 1)
