"""A mail that comes back is named where operators look."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.health.mail import mail_delivered
from analytics_pipeline.messages.decisions import list_messages
from analytics_pipeline.messages.recipients import add_recipient
from analytics_pipeline.reports.mail import enqueue_wanted
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.messages.conftest import Send, states
from analytics_pipeline_tests.messages.documents import REPORT, publish
from analytics_pipeline_tests.messages.mail_catcher import Catcher

# In the form of RFC 3464, as mail servers write them.
BOUNCE = """\
From: MAILER-DAEMON@mx.example.com
To: reports@example.com
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="B"

--B
Content-Type: text/plain

I'm sorry to have to inform you that your message could not be delivered.

--B
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com

Final-Recipient: rfc822; cfo@acme.com
Action: {action}
Status: 5.1.1
{diagnostic}
--B
Content-Type: {returned}

From: reports@example.com
Message-ID: {message_id}
Subject: Monthly report

--B--
"""
DIAGNOSTIC = "Diagnostic-Code: smtp; 550 5.1.1 <cfo@acme.com>: no such\n    user \x1b[31mhere\n"


def _bounced(tmp_path: Path, **parts: str) -> Result:
    fields = {"action": "failed", "diagnostic": DIAGNOSTIC, "returned": "message/rfc822"}
    file = tmp_path / "bounce.eml"
    file.write_text(BOUNCE.format(**(fields | parts)))
    return CliRunner().invoke(main, ["outbox", "bounced", str(file)])


@pytest.fixture
def message_id(connection: Connection, send: Send) -> str:
    """The id of the mail of a report that a server has taken."""
    add_recipient(connection, "acme", REPORT, "cfo@acme.com")
    publish(connection, "acme")
    enqueue_wanted(connection, get_settings())
    assert send().sent == 1
    (row,) = list_messages(connection)
    return str(row.message_id)


@pytest.mark.parametrize("returned", ["message/rfc822", "text/rfc822-headers"])
def test_a_bounce_is_named_in_the_list_the_check_and_beside_the_recipient(
    connection: Connection, catcher: Catcher, send: Send, message_id: str, tmp_path: Path, returned: str
) -> None:
    for _ in range(2):
        done = _bounced(tmp_path, message_id=message_id, returned=returned)
        assert (done.exit_code, done.output.count("\n")) == (0, 1)
    why = "bounced: 550 5.1.1 <cfo@acme.com>: no such user [31mhere"
    (row,) = list_messages(connection)
    assert (row.state, row.problem) == ("failed", why)
    finding = mail_delivered(connection, get_settings())
    assert f"cfo@acme.com (message {row.outbox_id}: {why})" in finding.summary
    (recipient,) = json.loads(CliRunner().invoke(main, ["recipients", "list", "--json"]).output)
    assert recipient["problem"] == why
    assert f"last mail not delivered: {why}" in CliRunner().invoke(main, ["recipients", "list"]).output
    # The address was corrected, or the mailbox has room again.
    assert CliRunner().invoke(main, ["outbox", "retry", str(row.outbox_id)]).exit_code == 0
    assert send().sent == 1
    (recipient,) = json.loads(CliRunner().invoke(main, ["recipients", "list", "--json"]).output)
    assert recipient["problem"] is None


def test_without_a_reason_the_status_is_reported(connection: Connection, message_id: str, tmp_path: Path) -> None:
    assert _bounced(tmp_path, message_id=message_id, diagnostic="").output.endswith(" bounced: status 5.1.1\n")


@pytest.mark.parametrize(
    ("parts", "stated"),
    [
        ({"action": "delayed"}, "This is no bounce"),
        ({"action": "delivered"}, "This is no bounce"),
        ({"message_id": "<other@example.com>"}, "No mail of the outbox that was sent has the id <other@example.com>"),
        ({"message_id": "none"}, "(the bounce names none)"),
    ],
)
def test_what_is_no_bounce_of_ours_changes_nothing(
    connection: Connection, message_id: str, tmp_path: Path, parts: dict[str, str], stated: str
) -> None:
    done = _bounced(tmp_path, **({"message_id": message_id} | parts))
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert stated in done.output
    assert states(connection) == ["sent"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\0\r\n\r\n",
        b"Content-Type: message/delivery-status\n\nAction",
        b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(2_000)),
    ],
    ids=["empty", "no text", "half", "parts in parts"],
)
@pytest.mark.slow
def test_a_file_that_is_no_mail_is_one_line(connection: Connection, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    done = CliRunner().invoke(main, ["outbox", "bounced", str(file)])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "This is no bounce" in done.output
