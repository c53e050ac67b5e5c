"""Companies whose names are headers, markup or other scripts: what leaves through the socket is their text."""

import json
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from markupsafe import escape

from analytics_pipeline.messages.message import storable
from analytics_pipeline.messages.recipients import add_recipient
from analytics_pipeline.reports.mail import enqueue_wanted
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.messages.conftest import SENDER, Send
from analytics_pipeline_tests.messages.documents import REPORT, publish
from analytics_pipeline_tests.messages.mail_catcher import Catcher
from analytics_pipeline_tests.messages.mail_source import Wire, decode_words, read_wire
from analytics_pipeline_tests.messages.sample_messages import put

CASES = (Path(__file__).parent / "data" / "names.jsonl").read_text(encoding="utf-8").splitlines()
NAMES = [str(json.loads(line)["company_id"]) for line in CASES]
COMMON = ["Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted"]
OF_TEXT = ["MIME-Version", "Content-Type", "Content-Transfer-Encoding"]


def _left(catcher: Catcher) -> Wire:
    """Return the one mail that left, to the one recipient it is for."""
    (content,) = catcher.raw
    assert catcher.senders == [(SENDER, ["cfo@example.com"])]
    read = message_from_bytes(content, policy=policy.default)
    assert (read["To"], read["Cc"], read["Bcc"]) == ("cfo@example.com", None, None)
    return read_wire(content)


@pytest.mark.parametrize("name", NAMES)
def test_the_mail_of_a_report_has_the_companys_name_as_its_text(
    connection: Connection, catcher: Catcher, send: Send, name: str
) -> None:
    add_recipient(connection, name, REPORT, "cfo@example.com")
    publish(connection, name)
    enqueue_wanted(connection, get_settings())
    assert send().sent == 1
    mail = _left(catcher)
    assert [header for header, _ in mail.headers] == [*COMMON, "List-Unsubscribe", "MIME-Version", "Content-Type"]
    assert decode_words(mail["Subject"]).partition(": ")[2] == name
    body, attached = mail.parts
    plain, html = body.parts
    assert plain.text.splitlines()[1] == name
    assert f"<bdi>{escape(name)}</bdi>" in html.text
    assert "<h1>Pay" not in html.text
    assert attached["Content-Type"] == "application/pdf"


@pytest.mark.parametrize("name", NAMES)
def test_so_has_an_alert(connection: Connection, catcher: Catcher, send: Send, name: str) -> None:
    text = f"The revenue of {name} fell.\nCompany: {storable(name)}\n"
    put(connection, subject=f"{name} fell", text=text)
    assert send().sent == 1
    mail = _left(catcher)
    assert [header for header, _ in mail.headers] == [*COMMON, *OF_TEXT]
    assert decode_words(mail["Subject"]) == f"{name} fell"
    assert mail.text == text
