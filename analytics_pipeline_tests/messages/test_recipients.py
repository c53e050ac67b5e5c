"""Who gets which report: plain addresses, each once, of exactly one company."""

import json

import psycopg
import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.recipients import add_recipient, list_recipients, remove_recipient
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event

REPORT = "monthly_report"


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["recipients", *arguments])


def test_an_address_is_a_recipient_once_whatever_its_case(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        assert add_recipient(connection, "acme", REPORT, "CFO@example.com")
        assert not add_recipient(connection, "acme", REPORT, "cfo@EXAMPLE.com")
        assert add_recipient(connection, None, REPORT, "cfo@example.com")
        assert add_recipient(connection, "globex", REPORT, "cfo@example.com")
        (of_acme,) = list_recipients(connection, "acme")
        assert of_acme.address == "CFO@example.com"
        assert [r.company_id for r in list_recipients(connection)] == [None]
        assert len(list_recipients(connection, everywhere=True)) == 3
        remove_recipient(connection, "acme", REPORT, "cfo@example.com")
        assert list_recipients(connection, "acme") == []
        assert len(list_recipients(connection, everywhere=True)) == 2
        with pytest.raises(AnalyticsError, match="is no recipient of monthly_report for the company 'acme'"):
            remove_recipient(connection, "acme", REPORT, "cfo@example.com")
        assert add_recipient(connection, "acme", REPORT, "cfo@example.com")


NO_ADDRESSES = [
    "a@b\r\nBcc: c@d",
    "a@b\n",
    "a b@example.com",
    "<a@b>",
    "a@b, c@d",
    "@b",
    "a@",
    "\u00e4@b.de",
    "a@b\0",
    "",
    "a..b@x.com",
]


def test_what_is_no_plain_address_is_refused(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        for address in NO_ADDRESSES:
            with pytest.raises(AnalyticsError, match="is not a mail address"):
                add_recipient(connection, None, REPORT, address)
        assert list_recipients(connection, everywhere=True) == []


def test_a_domain_in_any_script_is_one_address_with_its_ascii_form(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        assert add_recipient(connection, "acme", REPORT, "info@b\u00fccher.example")
        assert not add_recipient(connection, "acme", REPORT, "info@xn--bcher-kva.example")
        assert [r.address for r in list_recipients(connection, "acme")] == ["info@xn--bcher-kva.example"]
        remove_recipient(connection, "acme", REPORT, "info@B\u00dcCHER.example")
        assert list_recipients(connection, "acme") == []


def test_an_address_that_an_earlier_release_took_can_still_be_removed(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "INSERT INTO analytics_report_recipients (report, address) VALUES ('monthly_report', 'a..b@x.com')"
        )
        remove_recipient(connection, None, REPORT, "a..b@x.com")
        assert list_recipients(connection, everywhere=True) == []


def test_a_recipient_has_a_form_and_a_time_of_day(database: Database) -> None:
    def listed() -> list[tuple[str, str | None]]:
        return [(row["format"], row["sendAt"]) for row in json.loads(_call("list", "--json").output)]

    add = ["add", "--company", "acme", "--allow-unknown", "cfo@example.com"]
    assert _call(*add, "--format", "xlsx", "--at", "07:30").output.splitlines() == [
        "cfo@example.com gets monthly_report of the company 'acme', as XLSX, at 07:30 UTC.",
    ]
    assert listed() == [("xlsx", "07:30")]
    assert _call("list").output == "monthly_report  acme  cfo@example.com  as XLSX  at 07:30 UTC\n"
    assert "already gets" in _call(*add).output
    assert listed() == [("xlsx", "07:30")], "as it was"
    assert "the place in the store" in _call(*add, "--format", "link").output
    assert listed() == [("link", "07:30")]
    assert "as soon as it may go" in _call(*add, "--at", "now").output
    assert listed() == [("link", None)]
    assert "as soon as it may go" in _call("list").output
    _call("remove", "--company", "acme", "cfo@example.com")
    _call(*add)
    assert listed() == [("pdf", None)], "a new subscription begins anew"
    CliRunner().invoke(
        main, ["companies", "set", "acme", "--name", "Acme", "--time-zone", "Asia/Tokyo", "--allow-unknown"]
    )
    assert "at 06:00 Asia/Tokyo" in _call(*add, "--at", "06:00").output
    assert _call("list").output == "monthly_report  Acme (acme)  cfo@example.com  at 06:00 Asia/Tokyo\n"
    for time in ("7.30", "25:00", "07:30:00", "later"):
        refused = _call(*add, "--at", time)
        assert refused.exit_code == 2
        assert f"'--at': {time!r} is no time of day: write it like 07:30, or 'now'." in refused.output


def test_the_database_takes_no_broken_address_either(database: Database) -> None:
    insert = "INSERT INTO analytics_report_recipients (report, address) VALUES ('monthly_report', %s)"
    with database.connect(autocommit=True) as connection:
        for address in ("a@b\nBcc: c@d", "a b@example.com", "nobody"):
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(insert, [address])


def test_what_is_no_company_and_an_unknown_report_are_refused(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        for company in ("", "a\nb", "x" * 201, "\u202eevil"):
            with pytest.raises(AnalyticsError, match="no id of a company"):
                add_recipient(connection, company, REPORT, "cfo@example.com")
        with pytest.raises(AnalyticsError, match="choose one of monthly_report"):
            add_recipient(connection, None, "weekly", "cfo@example.com")


def test_the_command_adds_lists_and_removes(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00", company_id="acme")
    added = _call("add", "--company", "acme", "cfo@example.com")
    assert (added.exit_code, added.output) == (0, "cfo@example.com gets monthly_report of the company 'acme'.\n")
    assert "already gets" in _call("add", "--company", "acme", "CFO@example.com").output
    assert _call("add", "--company", "acmee", "cfo@example.com").exit_code == 2
    assert _call("add", "--company", "acmee", "cfo@example.com", "--allow-unknown").exit_code == 0
    _call("add", "--all-companies", "board@example.com")
    rows = json.loads(_call("list", "--json").output)
    assert [(row["companyId"], row["address"]) for row in rows] == [
        (None, "board@example.com"),
        ("acme", "cfo@example.com"),
        ("acmee", "cfo@example.com"),
    ]
    assert rows[0]["addedAt"].endswith("Z")
    assert [row["address"] for row in json.loads(_call("list", "--all-companies", "--json").output)] == [
        "board@example.com"
    ]
    assert _call("list", "--company", "acme").output == "monthly_report  acme  cfo@example.com\n"
    assert [row["corrections"] for row in rows] == [False] * 3
    asked = _call("add", "--company", "acme", "--corrections", "cfo@example.com").output
    assert asked == "cfo@example.com gets monthly_report of the company 'acme', and corrections by themselves.\n"
    assert _call("list", "--company", "acme").output == "monthly_report  acme  cfo@example.com  with corrections\n"
    _call("add", "--company", "acme", "cfo@example.com")
    assert [row["corrections"] for row in json.loads(_call("list", "--json").output)] == [False, True, False]
    _call("add", "--company", "acme", "--no-corrections", "cfo@example.com")
    assert [row["corrections"] for row in json.loads(_call("list", "--json").output)] == [False] * 3
    assert _call("remove", "--company", "acme", "cfo@example.com").exit_code == 0
    assert "Nobody gets a report yet" in _call("list", "--company", "acme").output


def test_bad_input_is_one_clear_line(database: Database) -> None:
    for arguments, message, status in (
        (["add", "cfo@example.com"], "either --company X or --all-companies", 2),
        (["add", "--company", "a", "--all-companies", "cfo@example.com"], "either --company X or --all-companies", 2),
        (["add", "--all-companies", "a@b\r\nBcc: c@d"], "not a mail address", 2),
        (["remove", "--all-companies", "cfo@example.com"], "is no recipient of monthly_report for all companies", 1),
        (["add", "--all-companies", "--report", "weekly", "cfo@example.com"], "is not 'monthly_report'", 2),
    ):
        result = _call(*arguments)
        assert result.exit_code == status
        assert message in result.output
        assert result.output.count("\n") == 1


def test_a_recipient_is_an_address_of_any_channel_that_takes_reports(database: Database) -> None:
    add = ("add", "--company", "acme", "--allow-unknown")
    assert _call(*add, "mail:cfo@example.com").exit_code == 0
    assert "already gets" in _call(*add, "CFO@example.com").output, "the same, written as before"
    for address in ("slack:ops", "teams:ops", "webhook:ops", "folder:/var/spool/reports"):
        added = _call(*add, address)
        assert added.exit_code == 0
        # The process that sends may have other settings: a name that is missing here is said, and not refused.
        assert ("Until it does, nothing reaches" in added.stderr) == (not address.startswith("folder:"))
    rows = json.loads(_call("list", "--json").output)
    assert [(row["address"], row["format"]) for row in rows] == [
        ("cfo@example.com", "pdf"),
        ("folder:/var/spool/reports", "pdf"),
        ("slack:ops", "link"),
        ("teams:ops", "link"),
        ("webhook:ops", "link"),
    ]
    for arguments, message in (
        ((*add, "pagerduty:ops"), "No report can go to pagerduty:ops: pagerduty takes failures and alerts."),
        ((*add, "slack:ops", "--format", "pdf"), "No pdf can go to slack:ops: slack takes a link to the document."),
        ((*add, "slak:ops"), "'slak' is no channel (did you mean slack?)"),
    ):
        assert message in _call(*arguments).output
    assert "slack:ops no longer gets" in _call("remove", "--company", "acme", "slack:OPS".lower()).output
    assert len(json.loads(_call("list", "--json").output)) == 4
