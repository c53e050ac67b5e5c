"""Text of data stays text in the bytes of a mail, whoever reads them."""

import shutil
import subprocess
from dataclasses import replace
from email import message_from_bytes, policy
from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.mail_addresses import Mailbox
from analytics_pipeline.messages.mime import Mail, MailFile, encode_header
from analytics_pipeline_tests.messages.mail_source import decode_words, read_wire

MAIL = Mail(
    sender=Mailbox("reports@example.com"),
    recipient="cfo@example.com",
    subject="subject",
    message_id="<1@example.com>",
    text="text\n",
)
ACCENTS = "Caf\u00e9 \u00c9toil\u00e9 d'H\u00f4tel (\u00cele de R\u00e9) \u2013 D\u00e9p\u00f4t n\u00b0 42"
SUBJECTS = [
    "plain",
    "[analytics] " + "many plain words " * 9,
    "W" * 180,
    ACCENTS,
    f"{ACCENTS} ! {ACCENTS} " * 2,
    "a \u00e9 b \u00e9 c" * 12,
    "\u682a\u5f0f\u4f1a\u793e\u9752\u7a7a\u8a08\u753b" * 20,
    "\u0634\u0631\u0643\u0629 \u0627\u0644\u062a\u0642\u0646\u064a\u0629",
    "=?utf-8?q?x=0D=0ABcc:_evil@example.com?=",
    "half a word =?utf-8?q?",
    "\U0001f680" * 40,
]


def _stdlib(value: str) -> str:
    """Read a header by Python's older parser, which shares nothing with the one that wrote mails before."""
    return str(make_header(decode_header(value)))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_subject_arrives_whole(subject: str) -> None:
    wire = read_wire(replace(MAIL, subject=subject).as_bytes())
    wanted = " ".join(subject.split())
    assert decode_words(wire["Subject"]) == wanted
    assert _stdlib(wire["Subject"]) == wanted


@pytest.mark.skipif(shutil.which("perl") is None, reason="needs Perl, whose Encode reads encoded words by its own code")
def test_another_programs_parser_reads_the_same_subjects() -> None:
    wires = "\n".join(encode_header("Subject", subject).replace("\r\n", "") for subject in SUBJECTS)
    reader = ["perl", "-MEncode", "-CO", "-ne", "print Encode::decode('MIME-Header', $_)"]
    read = subprocess.run(reader, input=wires, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    assert read.splitlines() == [" ".join(subject.split()) for subject in SUBJECTS]


@given(st.text(max_size=180))
def test_any_text_is_one_header(text: str) -> None:
    mail = replace(MAIL, subject=text, sender=Mailbox("a@example.com", "".join(filter(str.isprintable, text))))
    wire = read_wire(mail.as_bytes())
    assert [name for name, _ in wire.headers][:3] == ["Subject", "From", "To"]
    assert len(wire.headers) == len(read_wire(MAIL.as_bytes()).headers)
    visible = "".join(character if character.isprintable() else " " for character in text)
    assert decode_words(wire["Subject"]) == " ".join(visible.split())


@given(st.text(), st.text())
def test_any_text_is_a_body(text: str, html: str) -> None:
    file = MailFile("a.pdf", "application/pdf", html.encode("utf-8", "replace"))
    both, attached = read_wire(replace(MAIL, text=text, html=html, file=file).as_bytes()).parts
    lines = [part.text for part in both.parts]
    wanted = (given.replace("\r\n", "\n").replace("\r", "\n") for given in (text, html))
    assert lines == [given.encode("utf-8", "backslashreplace").decode() for given in wanted]
    assert attached["Content-Type"] == "application/pdf"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Finance team", "Finance team <a@example.com>"),
        ('M\u00fcller, "S\u00f6hne"', "=?utf-8?b?TcO8bGxlciwgIlPDtmhuZSI=?= <a@example.com>"),
        ('Acme, "Reports" <x>', '"Acme, \\"Reports\\" <x>" <a@example.com>'),
        ("=?utf-8?q?x?=", "=?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <a@example.com>"),
        ("", "a@example.com"),
    ],
)
def test_a_display_name_stands_before_the_address(name: str, written: str) -> None:
    content = replace(MAIL, sender=Mailbox("a@example.com", name), reply_to=Mailbox("b@example.com", name)).as_bytes()
    wire = read_wire(content)
    assert wire["From"] == written
    assert wire["Reply-To"] == written.replace("a@", "b@")
    (read,) = message_from_bytes(content, policy=policy.default)["From"].addresses
    assert (read.display_name, read.addr_spec) == (name, "a@example.com")


@pytest.mark.parametrize(
    "name", ["a-b.pdf", "Caf\u00e9 (2).pdf", 'x".pdf\r\nBcc: e@x.com', "=?utf-8?q?x?=.pdf", "\u682a" * 90]
)
def test_a_file_keeps_its_name_and_its_bytes(name: str) -> None:
    content = bytes(range(256)) * 99
    mail = replace(MAIL, html="<p>", file=MailFile(name, "application/pdf", content)).as_bytes()
    attached = read_wire(mail).parts[1]
    assert [header for header, _ in attached.headers] == [
        "Content-Type",
        "Content-Transfer-Encoding",
        "Content-Disposition",
    ]
    (read,) = message_from_bytes(mail, policy=policy.default).iter_attachments()
    assert read.get_filename() == name.replace("\r", "_").replace("\n", "_")[-80:]
    assert read.get_content() == content


@pytest.mark.parametrize("headers", [{"X-A": "a\r\nBcc: e@x.com"}, {"X-A": "\u00e9"}, {"X-A": "a\r\n\r\nb"}])
def test_a_header_that_would_be_several_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="the header X-A can't hold"):
        replace(MAIL, headers=headers).as_bytes()
