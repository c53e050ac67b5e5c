"""The right people get the mail of the right document, once, and it says what the document says."""

import json
from dataclasses import replace
from datetime import UTC
from email import message_from_binary_file, policy
from email.message import EmailMessage
from email.policy import SMTP
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.sql import SQL, Identifier

from analytics_pipeline.cli import main
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.health.mail import mail_delivered
from analytics_pipeline.messages.decisions import discard_messages, list_messages
from analytics_pipeline.messages.delivery import send_by_settings
from analytics_pipeline.messages.recipients import AT_ONCE, add_recipient, list_recipients, remove_recipient
from analytics_pipeline.messages.sending import SendReport, count_due
from analytics_pipeline.messages.unsubscribing import unsubscribe
from analytics_pipeline.reports.documents import Figure, hold
from analytics_pipeline.reports.headlines import headline_figures
from analytics_pipeline.reports.mail import (
    ReportMail,
    compose,
    count_missing,
    enqueue_report,
    enqueue_wanted,
    report_mail,
)
from analytics_pipeline.reports.resend import resend_one
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.messages import test_slack, test_teams
from analytics_pipeline_tests.messages.conftest import Send, pass_time, states
from analytics_pipeline_tests.messages.documents import FIGURES, LATE_REVENUE, REPORT, last_month, publish
from analytics_pipeline_tests.messages.mail_catcher import Catcher
from analytics_pipeline_tests.messages.webhook_catcher import webhook_receiver
from analytics_pipeline_tests.reports.samples import CONTROLS, LONG_NAME, MARKUP, RIGHT_TO_LEFT, empty, golden

MAIL = ReportMail(
    company="acme",
    title="Monthly report",
    period="January 2026",
    figures=FIGURES,
    file="monthly_report-2026-01-acme.pdf",
    size=84_321,
    sha256="0" * 64,
    link=None,
    data_through="31 Jan 2026, 23:59 UTC",
    provisional=False,
    definitions_version=1,
)


def _recipients(catcher: Catcher) -> list[tuple[str, str]]:
    return sorted((str(mail["To"]), str(mail["Subject"]).partition(": ")[2]) for mail in catcher.mails)


def _attached(mail: EmailMessage) -> bytes:
    (attachment,) = mail.iter_attachments()
    content = attachment.get_content()
    assert isinstance(content, bytes)
    return content


def _resend(connection: Connection, company: str | None, period: str | None = None) -> int:
    return resend_one(connection, get_settings(), REPORT, company, period or last_month()).added


def _set(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()


@pytest.mark.slow
def test_everybody_gets_the_report_of_their_own_company_once(
    connection: Connection,
    catcher: Catcher,
    send: Send,
) -> None:
    for company, address in (("acme", "cfo@acme.com"), ("acme", "ceo@acme.com"), ("globex", "cfo@globex.com")):
        add_recipient(connection, company, REPORT, address)
    add_recipient(connection, None, REPORT, "board@platform.com")
    for owner in (None, "acme", "globex", "nobody's"):
        publish(connection, owner, content=f"%PDF of {owner}".encode())
    assert count_missing(connection) == 4
    for _ in range(2):
        enqueue_wanted(connection, get_settings())
        send()
    assert _recipients(catcher) == [
        ("board@platform.com", "All companies"),
        ("ceo@acme.com", "acme"),
        ("cfo@acme.com", "acme"),
        ("cfo@globex.com", "globex"),
    ]
    of_company = {str(mail["To"]): _attached(mail) for mail in catcher.mails}
    assert of_company["cfo@globex.com"] == b"%PDF of globex"
    assert of_company["board@platform.com"] == b"%PDF of None"
    assert count_missing(connection) == 0


def test_a_report_reaches_every_channel_that_takes_reports_once(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "spool"
    for address in ("slack:ops", "teams:ops", "webhook:ops", f"folder:{folder}"):
        add_recipient(connection, "acme", REPORT, address)
    publish(connection, "acme")
    with webhook_receiver() as slack, webhook_receiver() as teams, webhook_receiver() as own:
        slack.check, teams.check = test_slack.checked, test_teams.checked
        test_teams.LOST.clear()
        _set(
            monkeypatch,
            ANALYTICS_SLACK=f"ops={slack.url}",
            ANALYTICS_TEAMS=f"ops={teams.url}",
            ANALYTICS_WEBHOOKS=f"ops={own.url}",
            ANALYTICS_ARTIFACTS_URL="https://reports.example.com",
        )
        for _ in range(2):
            enqueue_wanted(connection, get_settings())
            send_by_settings(connection, get_settings())
        assert states(connection) == ["sent"] * 4
        (heading, _, figures, actions) = slack.posted[0]["blocks"]
        assert str(heading["text"]["text"]).endswith(": acme")
        assert figures["fields"][0]["text"] == "Revenue, EUR: 15,000.00 (+15.5%)"
        link = actions["elements"][0]["url"]
        assert link.startswith("https://reports.example.com/monthly_report/")
        assert teams.posted[0]["attachments"][0]["content"]["actions"][0]["url"] == link
        assert test_teams.LOST == []
        (stated,) = own.posted
        assert (stated["type"], stated["data"]["link"], stated["data"]["company"]) == ("report.published", link, "acme")
    (file,) = folder.glob("*.eml")
    with file.open("rb") as stream:
        assert _attached(message_from_binary_file(stream, policy=policy.default)) == b"%PDF first"
    # Corrected, it goes to each of them again, and says so.
    publish(connection, "acme", content=b"%PDF second", revenue=LATE_REVENUE)
    resent = resend_one(connection, get_settings(), REPORT, "acme", last_month())
    assert sorted(mail.address for mail in resent.mails) == [
        f"folder:{folder}",
        "slack:ops",
        "teams:ops",
        "webhook:ops",
    ]
    subjects = [message.subject for message in list_messages(connection, state="pending")]
    assert [subject.startswith("Corrected: ") for subject in subjects] == [True] * 4


def test_the_database_refuses_a_row_that_mixes_companies(connection: Connection) -> None:
    for owner in (None, "acme", "globex"):
        add_recipient(connection, owner, REPORT, f"cfo@{owner}.com")
    ids: dict[str | None, Any] = dict(
        connection.execute("SELECT company_id, recipient_id FROM analytics_report_recipients").fetchall()
    )
    acme = publish(connection, "acme", content=b"%PDF of acme")
    platform = publish(connection, None, content=b"%PDF of all")

    def insert(company: str | None, recipient: str | None, document: int, **more: object) -> None:
        row = {
            "kind": "report",
            "channel": "mail",
            "dedupe_key": f"{company} {recipient} {document}",
            "company_id": company,
            "target": f"cfo@{recipient}.com",
            "subject": "s",
            "text_body": "t",
            "report": REPORT,
            "period": last_month(),
            "document_id": document,
            "recipient_id": ids[recipient],
            **more,
        }
        columns = ", ".join(row)
        values = ", ".join(f"%({name})s" for name in row)
        connection.execute(f"INSERT INTO analytics_outbox ({columns}) VALUES ({values})".encode(), row)

    insert("acme", "acme", acme.document_id)
    for company, recipient, document in (
        ("acme", "globex", acme.document_id),
        ("globex", "globex", acme.document_id),
        (None, "globex", acme.document_id),
        (None, None, acme.document_id),
        ("acme", None, acme.document_id),
        ("acme", "acme", platform.document_id),
        (None, "acme", platform.document_id),
    ):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            insert(company, recipient, document)
    attachment = dict.fromkeys(("attachment_uri", "attachment_name", "attachment_file"), "x") | {"attachment_size": 1}
    for wrong in (
        {"target": "cfo@globex.com"},
        {"period": "2020-01"},
        {"report": "weekly"},
        {**attachment, "attachment_sha256": platform.document.sha256},
    ):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            insert("acme", "acme", acme.document_id, **{"dedupe_key": "other", **wrong})
    with pytest.raises(psycopg.errors.CheckViolation):
        insert("acme", "acme", acme.document_id, dedupe_key="other", recipient_id=None)
    # The other way round: a row can't be brought to another company afterwards.
    for table in ("analytics_outbox", "analytics_report_documents", "analytics_report_recipients"):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute(f"UPDATE {table} SET company_id = 'globex' WHERE company_id = 'acme'".encode())


@pytest.mark.slow
def test_a_document_rendered_again_mails_nobody_again_until_a_person_wants_it(
    connection: Connection,
    catcher: Catcher,
    send: Send,
) -> None:
    settings = get_settings()
    for address in ("cfo@acme.com", "ceo@acme.com"):
        add_recipient(connection, "acme", REPORT, address)
    publish(connection, "acme")
    enqueue_wanted(connection, settings)
    send()
    first = publish(connection, "acme", content=b"%PDF with late data", revenue=LATE_REVENUE)
    assert count_missing(connection) == 0
    assert enqueue_report(connection, settings, first) == 0
    assert send() == SendReport()
    assert _resend(connection, "acme") == 2
    assert _resend(connection, "acme") == 0
    assert send().sent == 2
    assert _resend(connection, "acme") == 0
    corrected = [mail for mail in catcher.mails if str(mail["Subject"]).startswith("Corrected: ")]
    assert {_attached(mail) for mail in corrected} == {b"%PDF with late data"}
    stated = corrected[0].get_body(("plain",)).get_content()  # type: ignore[union-attr]
    lines_of = stated.splitlines()
    assert "This replaces the report of this period that was sent before: 1 figure differs." in lines_of
    assert "Total revenue, EUR 15,010.00, before 15,000.00 (+10.00)" in lines_of
    assert len({mail["Message-ID"] for mail in catcher.mails}) == 4


def test_a_report_that_was_resent_is_not_mailed_once_more_by_itself(connection: Connection) -> None:
    settings = get_settings()
    add_recipient(connection, "acme", REPORT, "cfo@acme.com")
    publish(connection, "acme")
    assert _resend(connection, "acme") == 1
    add_recipient(connection, "acme", REPORT, "ceo@acme.com")
    assert enqueue_wanted(connection, settings) == 1
    assert [row.target for row in list_messages(connection)].count("cfo@acme.com") == 1


def test_a_correction_is_mailed_by_itself_only_to_who_asked_for_it_before(connection: Connection) -> None:
    settings = get_settings()

    def put_in() -> list[str]:
        missing = count_missing(connection)
        assert enqueue_wanted(connection, settings) == missing
        assert count_missing(connection) == 0
        targets = sorted(row.target for row in list_messages(connection, state="pending"))
        connection.execute(
            "UPDATE analytics_outbox SET state = 'sent', sent_at = clock_timestamp(), settled_at = now() "
            "WHERE state = 'pending'"
        )
        return targets

    add_recipient(connection, "acme", REPORT, "cfo@acme.com")
    add_recipient(connection, "acme", REPORT, "audit@acme.com", corrections=True)
    publish(connection, "acme")
    assert put_in() == ["audit@acme.com", "cfo@acme.com"]
    publish(connection, "acme", content=b"%PDF other arrivals")
    assert put_in() == [], "no figure differs"
    publish(connection, "acme", content=b"%PDF with late data", revenue=LATE_REVENUE)
    assert put_in() == ["audit@acme.com"]
    assert add_recipient(connection, "acme", REPORT, "cfo@acme.com", corrections=True)
    assert put_in() == [], "it was corrected before they asked"
    publish(connection, "acme", content=b"%PDF with later data", revenue="15020.00", released=False)
    assert put_in() == [], "held back"
    hold(connection, REPORT, last_month(), None)
    assert put_in() == ["audit@acme.com", "cfo@acme.com"]
    publish(connection, "acme", content=b"%PDF by version 2", revenue="9.00", definitions_version=2)
    assert put_in() == [], "another version of the definitions corrects nothing"
    assert add_recipient(connection, "acme", REPORT, "audit@acme.com", corrections=False)
    publish(connection, "acme", content=b"%PDF corrected", revenue="8.00", definitions_version=2)
    assert put_in() == [], "what they were mailed follows another version"


def test_a_document_by_another_version_of_the_definitions_is_no_correction_and_says_so(connection: Connection) -> None:
    settings = get_settings()
    add_recipient(connection, "acme", REPORT, "cfo@acme.com")
    publish(connection, "acme")
    enqueue_wanted(connection, settings)
    connection.execute("UPDATE analytics_outbox SET state = 'sent', sent_at = now(), settled_at = now()")
    (row,) = json.loads(_call("list", "--json").output)
    assert (row["document"], row["definitionsVersion"]) == ("current", 1)
    assert "current, by version 1" in " ".join(_call("list").output.split())
    publish(connection, "acme", content=b"%PDF with late data", revenue=LATE_REVENUE, definitions_version=2)
    (row,) = json.loads(_call("list", "--outdated", "--json").output)
    assert (row["document"], row["changedFigures"]) == ("other definitions", [])
    assert _resend(connection, "acme") == 1
    (_, first), (subject, newer) = connection.execute(
        "SELECT subject, text_body FROM analytics_outbox ORDER BY outbox_id"
    ).fetchall()
    assert subject.startswith("Replaced: Monthly report")
    assert "Metric definitions, version 2." in newer
    assert "That one follows version 1 of the definitions, this one version 2" in newer
    assert "That one follows" not in first


def test_whoever_has_the_newer_document_is_sent_no_other_mail_of_the_period(connection: Connection) -> None:
    settings = get_settings()
    add_recipient(connection, "acme", REPORT, "cfo@acme.com")
    publish(connection, "acme")
    enqueue_wanted(connection, settings)
    connection.execute(
        "UPDATE analytics_outbox SET state = 'sending', claimed_by = 'x', claimed_at = now(), lease_until = now()"
    )
    publish(connection, "acme", content=b"%PDF with late data")
    assert _resend(connection, "acme") == 1
    # The server answers at last that it can't take it now.
    connection.execute("UPDATE analytics_outbox SET state = 'pending' WHERE state = 'sending'")
    assert enqueue_wanted(connection, settings) == 0
    assert sorted(states(connection)) == ["discarded", "pending"]


def test_what_was_made_while_its_month_was_judged_stays_held_back(connection: Connection) -> None:
    publish(connection, "acme")
    (judged_at,) = fetch_row(connection, "SELECT now()")
    connection.execute("UPDATE analytics_report_documents SET held_because = 'not yet', rendered_at = now()")
    hold(connection, REPORT, last_month(), None, rendered_before=judged_at)
    held = "SELECT held_because FROM analytics_report_documents"
    assert fetch_row(connection, held) == ("not yet",)
    hold(connection, REPORT, last_month(), None)
    assert fetch_row(connection, held) == (None,)


def test_a_discarded_mail_stays_discarded_and_a_newer_document_is_another_matter(
    connection: Connection, catcher: Catcher, send: Send
) -> None:
    settings = get_settings()
    for address in ("cfo@acme.com", "ceo@acme.com"):
        add_recipient(connection, "acme", REPORT, address)
    publish(connection, "acme")
    enqueue_wanted(connection, settings)
    discard_messages(connection, [row.outbox_id for row in list_messages(connection) if row.target == "cfo@acme.com"])
    assert send().sent == 1
    assert _resend(connection, "acme") == 0
    publish(connection, "acme", content=b"%PDF with late data")
    assert _resend(connection, "acme") == 2
    pending = list_messages(connection, state="pending")
    discard_messages(connection, [row.outbox_id for row in pending if row.target == "cfo@acme.com"])
    assert _resend(connection, "acme") == 0
    assert send().sent == 1
    assert [str(mail["To"]) for mail in catcher.mails] == ["ceo@acme.com"] * 2


def test_what_has_not_left_yet_leaves_as_the_document_that_counts(
    connection: Connection,
    catcher: Catcher,
    send: Send,
) -> None:
    settings = get_settings()
    add_recipient(connection, "acme", REPORT, "cfo@acme.com")
    publish(connection, "acme")
    enqueue_wanted(connection, settings)
    newer = publish(connection, "acme", content=b"%PDF with late data", released=False)
    assert send() == SendReport(), "the old document counts no more, the new one was not looked at yet"
    assert enqueue_report(connection, settings, newer) == 0, "held back"
    hold(connection, REPORT, last_month(), None)
    enqueue_wanted(connection, settings)
    assert send().sent == 1
    assert _attached(catcher.mails[0]) == b"%PDF with late data"
    assert not str(catcher.mails[0]["Subject"]).startswith("Corrected")
    # The same bytes again: the document that was first counts again.
    assert publish(connection, "acme").document.sha256 != newer.document.sha256
    row = connection.execute("SELECT count(*), count(*) FILTER (WHERE is_current) FROM analytics_report_documents")
    assert row.fetchone() == (2, 1)


def test_nothing_is_mailed_of_what_is_held_back(
    connection: Connection,
    catcher: Catcher,
    send: Send,
) -> None:
    settings = get_settings()
    add_recipient(connection, "acme", REPORT, "cfo@acme.com")
    publish(connection, "acme", released=False)
    assert enqueue_wanted(connection, settings) == 0
    hold(connection, REPORT, last_month(), None)
    assert enqueue_wanted(connection, settings) == 1
    hold(connection, REPORT, last_month(), "reconciles_with_events failed")
    assert send() == SendReport()
    with pytest.raises(AnalyticsError, match="held back: reconciles_with_events failed"):
        _resend(connection, "acme")
    assert catcher.mails == []
    hold(connection, REPORT, last_month(), None)
    assert send().sent == 1


def test_filling_in_old_months_mails_nobody_until_a_person_wants_it(connection: Connection) -> None:
    add_recipient(connection, None, REPORT, "board@platform.com")
    publish(connection, None, period="2020-01")
    assert enqueue_wanted(connection, get_settings()) == 0
    assert _resend(connection, None, "2020-01") == 1
    # What is due of it brings nobody else theirs.
    add_recipient(connection, None, REPORT, "new@platform.com")
    assert enqueue_wanted(connection, get_settings()) == 0


def test_a_document_made_before_its_month_had_ended_is_not_mailed(connection: Connection) -> None:
    add_recipient(connection, None, REPORT, "board@platform.com")
    publish(connection, None)
    connection.execute("UPDATE analytics_report_documents SET rendered_at = period_end - interval '1 day'")
    assert enqueue_wanted(connection, get_settings()) == 0


def test_somebody_who_was_removed_gets_nothing_that_has_not_left(
    connection: Connection,
    catcher: Catcher,
    send: Send,
) -> None:
    add_recipient(connection, None, REPORT, "board@platform.com")
    publish(connection, None)
    enqueue_wanted(connection, get_settings())
    assert remove_recipient(connection, None, REPORT, "board@platform.com") == 1
    assert enqueue_wanted(connection, get_settings()) == 0
    assert send() == SendReport()
    # Added again by somebody who changed their mind, and removed by a program that forgot the outbox.
    add_recipient(connection, None, REPORT, "BOARD@platform.com")
    assert enqueue_wanted(connection, get_settings()) == 1
    connection.execute("UPDATE analytics_report_recipients SET active = false")
    assert send() == SendReport()
    assert count_due(connection, {"mail": None}) == 0  # type: ignore[dict-item]
    assert catcher.mails == []


@pytest.mark.parametrize(
    ("wanted", "zone", "since", "instant"),
    [
        ("07:30", "UTC", "2026-03-28 07:30:00+00", "2026-03-28 07:30:00+00"),
        # Summer time begins that night in the session's zone, and days are of 24 hours all the same.
        ("07:30", "UTC", "2026-03-28 07:30:00.000001+00", "2026-03-29 07:30:00+00"),
        ("00:00", "UTC", "2026-03-28 23:59:59+00", "2026-03-29 00:00:00+00"),
        ("23:30", "UTC", "2026-03-29 00:30:00+02", "2026-03-28 23:30:00+00"),
        # Days of 23 and 25 hours, an hour that is skipped, and one that comes twice.
        ("07:30", "Europe/Berlin", "2026-03-28 07:30:00+01", "2026-03-28 07:30:00+01"),
        ("07:30", "Europe/Berlin", "2026-03-28 07:31:00+01", "2026-03-29 07:30:00+02"),
        ("02:30", "Europe/Berlin", "2026-03-29 00:00:00+01", "2026-03-29 03:30:00+02"),
        ("08:00", "Pacific/Auckland", "2026-04-30 12:00:00+00", "2026-05-01 08:00:00+12"),
    ],
)
def test_a_time_of_day_is_the_next_one_where_the_company_is(
    connection: Connection, wanted: str, zone: str, since: str, instant: str
) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL timezone = 'Europe/Berlin'")
        query = "SELECT analytics_next_time_of_day(%s::time, %s::timestamptz, %s), %s::timestamptz"
        found, expected = fetch_row(connection, query, [wanted, since, zone, instant])
        assert found == expected


MORNINGS = [
    # Without a time of day: at eight of the morning after the month where the company is, later at once.
    ("Pacific/Auckland", {}, "2026-01-31 11:05:00+00", "2026-02-01 08:00:00+13"),
    ("Pacific/Honolulu", {}, "2026-02-01 10:05:00+00", "2026-02-01 08:00:00-10"),
    (None, {}, "2026-02-01 00:05:00+00", "2026-02-01 08:00:00+01"),
    (None, {}, "2026-02-03 12:00:00+00", "2026-02-03 12:00:00+00"),
    ("Pacific/Auckland", {"send_at": "06:15"}, "2026-02-03 12:00:00+00", "2026-02-04 06:15:00+13"),
    ("Pacific/Auckland", {"at_once": True}, "2026-01-31 11:05:00+00", "2026-01-31 11:05:00+00"),
]


@pytest.mark.parametrize(("zone", "wanted", "since", "due"), MORNINGS)
def test_a_report_is_due_in_the_morning_after_the_month_where_its_company_is(
    connection: Connection, zone: str | None, wanted: dict[str, object], since: str, due: str
) -> None:
    connection.execute("INSERT INTO analytics_companies (company_id, time_zone) VALUES ('acme', %s)", [zone])
    add_recipient(connection, "acme", REPORT, "cfo@acme.com")
    for column, value in wanted.items():
        connection.execute(SQL("UPDATE analytics_report_recipients SET {} = %s").format(Identifier(column)), [value])
    query = """
        SELECT analytics_report_due(
                r, analytics_local_start('2026-02-01', coalesce(%(zone)s, 'Europe/Berlin')), %(since)s, 'Europe/Berlin'
            ), %(due)s::timestamptz
        FROM analytics_report_recipients AS r
    """
    found, expected = fetch_row(connection, query, {"zone": zone, "since": since, "due": due})
    assert found == expected


def test_a_report_waits_for_the_time_of_day_that_its_recipient_wants(
    connection: Connection, catcher: Catcher, send: Send
) -> None:
    in_three_hours = "SELECT date_trunc('minute', now() AT TIME ZONE 'UTC' + interval '3 hours')::time"
    (soon,) = fetch_row(connection, in_three_hours)
    add_recipient(connection, "acme", REPORT, "cfo@acme.com", send_at=soon)
    add_recipient(connection, "acme", REPORT, "ceo@acme.com")
    publish(connection, "acme")
    assert enqueue_wanted(connection, get_settings()) == 2
    assert send().sent == 1
    assert [str(mail["To"]) for mail in catcher.mails] == ["ceo@acme.com"]
    (waiting,) = list_messages(connection, state="pending")
    assert waiting.problem == "waits for the time of day at which its recipient wants it"
    connection.execute("UPDATE analytics_outbox SET created_at = created_at - interval '5 hours'")
    assert mail_delivered(connection, get_settings()).passed, "it is not late"
    assert (waiting.next_attempt_at.astimezone(UTC).time(), waiting.attempts) == (soon, 0)
    newer = publish(connection, "acme", content=b"%PDF with late data", revenue=LATE_REVENUE)
    pass_time(connection, 181)
    enqueue_wanted(connection, get_settings())
    assert send().sent == 1
    assert _attached(catcher.mails[1]) == b"%PDF with late data"
    assert newer.document.sha256 in catcher.mails[1].get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_who_wants_it_sooner_or_has_it_resent_waits_no_more(connection: Connection, send: Send) -> None:
    (soon,) = fetch_row(connection, "SELECT (now() AT TIME ZONE 'UTC' + interval '3 hours')::time(0)")
    add_recipient(connection, "acme", REPORT, "cfo@acme.com", send_at=soon)
    publish(connection, "acme")
    enqueue_wanted(connection, get_settings())
    assert add_recipient(connection, "acme", REPORT, "cfo@acme.com", send_at=AT_ONCE)
    assert send().sent == 1
    add_recipient(connection, "acme", REPORT, "ceo@acme.com", send_at=soon)
    assert _resend(connection, "acme") == 1
    assert send().sent == 1, "by hand it goes at once"


@pytest.mark.slow
def test_a_mail_says_how_to_get_no_more_of_them(
    connection: Connection, catcher: Catcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(
        monkeypatch,
        ANALYTICS_SMTP_URL=f"smtp://127.0.0.1:{catcher.port}",
        ANALYTICS_MAIL_FROM="Reports <reports@example.com>",
        ANALYTICS_MAIL_REPLY_TO="Finance <fin%ance@b\u00fccher.example>",
    )
    for company in (None, "acme", "globex"):
        add_recipient(connection, company, REPORT, "cfo+x@acme.com")
        publish(connection, company)
    assert _call("send").output == "3 sent.\n"
    stated = "fin%ance@xn--bcher-kva.example"
    for mail in catcher.mails:
        header = "<mailto:fin%25ance@xn--bcher-kva.example?subject=Unsubscribe%20cfo%2Bx%40acme.com%20from%20reports>"
        assert mail["List-Unsubscribe"] == header
        assert mail["List-Unsubscribe-Post"] is None, "the API has no address that mail programs post to"
        assert mail["Reply-To"].addresses[0].addr_spec == stated
        assert f"To get this report no more, write to {stated}." in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    # What the operator does then.
    publish(connection, "acme", content=b"%PDF with late data")
    _resend(connection, "acme")
    removed = CliRunner().invoke(main, ["recipients", "remove", "--everywhere", "CFO+x@acme.com"])
    assert removed.output == (
        "CFO+x@acme.com no longer gets any report, of 3 there were; 1 mails that had not left were taken back.\n"
    )
    again = CliRunner().invoke(main, ["recipients", "remove", "--everywhere", "cfo+x@acme.com"])
    assert (again.exit_code, "gets no report" in again.output) == (1, True)


def test_a_document_above_the_limit_is_linked(
    connection: Connection,
    catcher: Catcher,
    send: Send,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _set(monkeypatch, ANALYTICS_MAIL_ATTACHMENT_LIMIT="9", ANALYTICS_ARTIFACTS_URL="https://data.example.com/reports/")
    for company, content in (("acme", b"9 bytes.."), ("S&P 500", b"10 bytes..")):
        add_recipient(connection, company, REPORT, "cfo@example.com")
        publish(connection, company, content=content)
    enqueue_wanted(connection, get_settings())
    assert send().sent == 2
    large, small = sorted(catcher.mails, key=lambda mail: len(list(mail.iter_attachments())))
    assert _attached(small) == b"9 bytes.."
    assert list(large.iter_attachments()) == []
    (name,) = (d for (d,) in connection.execute("SELECT name FROM analytics_report_documents WHERE size = 10"))
    link = f"https://data.example.com/reports/{name}"
    assert link in large.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert f'href="{link}"' in large.get_body(("html",)).get_content()  # type: ignore[union-attr]


def test_a_document_of_an_earlier_release_is_mailed_too(connection: Connection, catcher: Catcher, send: Send) -> None:
    add_recipient(connection, "acme", REPORT, "cfo@acme.com")
    publish(connection, "acme")
    connection.execute("DELETE FROM analytics_report_files")
    enqueue_wanted(connection, get_settings())
    assert send().sent == 1
    assert _attached(catcher.mails[0]) == b"%PDF first"


def test_without_a_web_address_the_link_is_where_the_document_is(
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _set(monkeypatch, ANALYTICS_MAIL_ATTACHMENT_LIMIT="0")
    recorded = publish(connection, "acme")
    mail = report_mail(recorded.document, get_settings())
    assert mail.link == recorded.document.uri
    assert "<a " not in compose(mail).html


def test_a_mail_says_what_the_document_says() -> None:
    composed = compose(MAIL)
    assert composed.subject == "Monthly report January 2026: acme"
    assert composed.text.splitlines()[:7] == [
        "Monthly report, January 2026",
        "acme",
        "",
        "Revenue, EUR  15,000.00  +15.5%",
        "Active users         85       \u2013",
        "",
        "Change is against the month before.",
    ]
    for part in (
        "monthly_report-2026-01-acme.pdf (84 kB)",
        "Data through 31 Jan 2026, 23:59 UTC. Metric definitions, version 1.",
        f"SHA-256 of the document: {'0' * 64}",
    ):
        assert part in composed.text
        assert part in composed.html
    assert ">Change</th>" in composed.html
    assert "rovisional" not in composed.text
    caution = "Provisional: the period is not over and its figures will change. No event of it is in yet."
    provisional = compose(replace(MAIL, provisional=True, cautions=(caution,)))
    assert provisional.subject == "Monthly report January 2026 (provisional): acme"
    assert f"\n{caution}\n" in provisional.text
    assert caution in provisional.html


def test_what_has_no_blanks_breaks_on_a_narrow_screen() -> None:
    (checksum,) = [line for line in compose(MAIL).html.splitlines() if MAIL.sha256 in line]
    assert "overflow-wrap:anywhere" in checksum


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    "name",
    [MARKUP, CONTROLS, RIGHT_TO_LEFT, LONG_NAME, "a\r\nBcc: evil@example.com", '"><script>alert(1)</script>', "\udc80"],
)
def test_a_hostile_name_stays_one_line_of_text(name: str) -> None:
    plain = compose(MAIL)
    fields = {field: getattr(MAIL, field) for field in MAIL.__slots__}
    figures = (Figure(name, name, name), *FIGURES[1:])
    composed = compose(ReportMail(**fields | {"company": name, "figures": figures, "file": name, "data_through": name}))
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = composed.subject
    assert len(composed.subject) <= 180
    assert mail.as_string().count("Bcc") == mail["Subject"].count("Bcc")
    assert composed.text.count("\n") == plain.text.count("\n")
    for text in (composed.subject, composed.text, composed.html):
        assert all(character.isprintable() or character == "\n" for character in text)
        text.encode()
    seen, wanted = _Seen(), _Seen()
    seen.feed(composed.html)
    wanted.feed(plain.html)
    assert seen.tags == wanted.tags


def test_headline_figures_are_those_of_the_document() -> None:
    figures = headline_figures(golden())

    assert figures[0] == Figure("Total revenue, EUR", "15,000.00", "+15.5%")
    assert Figure("Active users", "85", "+13.3%") in figures
    assert {figure.value for figure in headline_figures(empty())} == {"0.00", "0"}
    assert {figure.change for figure in headline_figures(empty())} == {"\u2013"}


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["outbox", *arguments])


@pytest.mark.slow
def test_the_command_shows_sends_and_decides(
    connection: Connection,
    catcher: Catcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_recipient(connection, "acme", REPORT, "cfo@acme.com")
    add_recipient(connection, "globex", REPORT, "cfo@globex.com")
    for company in ("acme", "globex"):
        publish(connection, company)
    assert "no such message" in _call("list").output
    sent = _call("send")
    assert (sent.exit_code, sent.output) == (0, "2 waiting for ANALYTICS_SMTP_URL.\n")
    _set(monkeypatch, ANALYTICS_SMTP_URL=f"smtp://127.0.0.1:{catcher.port}")
    catcher.refused["cfo@acme.com"] = "550 no such person"
    failed = _call("send", "--json")
    assert failed.exit_code == 1
    assert {k: v for k, v in json.loads(failed.output).items() if v and k != "problems"} == {"sent": 1, "failed": 1}
    (row,) = json.loads(_call("list", "--state", "failed", "--json").output)
    assert (row["companyId"], row["target"], row["attempts"]) == ("acme", "cfo@acme.com", 1)
    assert "550 no such person" in row["problem"]
    assert "cfo@globex.com" in _call("list").output
    assert "cfo@globex.com" not in _call("list", "--company", "acme").output
    refused = _call("retry", str(row["id"]), "999")
    assert (refused.exit_code, states(connection)) == (2, ["failed", "sent"])
    assert "there is no message 999" in refused.output
    catcher.refused.clear()
    assert _call("retry", str(row["id"])).exit_code == 0
    assert _call("send").output == "1 sent.\n"
    assert _call("discard", str(row["id"])).exit_code == 1
    publish(connection, "acme", content=b"%PDF corrected")
    resent = _call("resend", "--company", "acme", "--period", last_month())
    assert resent.output.splitlines() == [
        f"cfo@acme.com: monthly_report of {last_month()} for the company 'acme', made anew since, no figure differs",
        "1 mails are in the outbox; 'analytics-pipeline outbox send' sends now.",
    ]
    (pending,) = json.loads(_call("list", "--state", "pending", "--json").output)
    assert _call("discard", str(pending["id"])).output == "1 discarded.\n"
    assert "Nothing new to send" in _call("resend", "--company", "acme", "--period", last_month()).output
    pass_time(connection, 100)
    assert _call("send").output == "Nothing was due.\n"


def test_bad_input_is_one_clear_line(connection: Connection) -> None:
    for arguments, message, status in (
        (["resend", "--all-companies", "--period", "2020-01"], "There is no monthly_report of 2020-01 for all", 1),
        (["resend", "--all-companies", "--period", "January"], "write it like 2025-01", 2),
        (["resend", "--period", "2025-01"], "either --company X or --all-companies", 2),
        (["discard", "1"], "there is no message 1", 2),
    ):
        result = _call(*arguments)
        assert result.exit_code == status
        assert message in result.output
        assert result.output.count("\n") == 1


def test_one_click_in_a_mail_ends_the_reports_to_its_recipient(
    connection: Connection, catcher: Catcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(
        monkeypatch,
        ANALYTICS_SMTP_URL=f"smtp://127.0.0.1:{catcher.port}",
        ANALYTICS_MAIL_FROM="Reports <reports@example.com>",
        ANALYTICS_SERVE_URL="https://figures.example.com",
        ANALYTICS_LOCALE="es_ES",
    )
    add_recipient(connection, "acme", REPORT, "cfo@acme.com")
    publish(connection, "acme")
    assert _call("send").output == "1 sent.\n"
    (mail,) = catcher.mails
    address, by_mail = mail["List-Unsubscribe"].split(", ")
    assert by_mail.startswith("<mailto:reports@example.com?")
    # Whoever reads it is the platform's.
    assert unquote(by_mail).endswith("subject=Dar de baja a cfo@acme.com de los informes>")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert address.startswith("<https://figures.example.com/unsubscribe/")
    assert [one.address for one in list_recipients(connection, everywhere=True)] == ["cfo@acme.com"]
    assert unsubscribe(connection, address.strip("<>").rpartition("/")[2])
    assert list_recipients(connection, everywhere=True) == []
