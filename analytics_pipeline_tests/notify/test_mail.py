"""Mail reaches a real server, encrypted, and the outcome is told as it is."""

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from aiosmtpd.smtp import AuthResult

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.notify.channels import notifier_for
from analytics_pipeline.notify.mail import MailNotifier, MailServer
from analytics_pipeline.notify.notifier import DeliveryUnknown, LogNotifier, Message, NotDelivered
from analytics_pipeline.settings import Settings
from analytics_pipeline_tests.notify.mail_catcher import Catcher, mail_server

MESSAGE = Message("[analytics] failed: daily_aggregates", "It failed.\n.\n.. with dots\nMüller ₿\n", "abc123")
PEOPLE = ("ops@example.com", "boss@example.com")


def _notifier(url: str, **options: float) -> MailNotifier:
    return MailNotifier(MailServer.parse(url), sender="pipeline@example.com", recipients=PEOPLE, **options)


@pytest.fixture
def plain() -> Iterator[Catcher]:
    with mail_server() as catcher:
        yield catcher


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's context whose certificate this process trusts."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return server_context(authority)


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


def test_a_mail_arrives_whole_at_every_operator(plain: Catcher) -> None:
    _notifier(f"smtp://127.0.0.1:{plain.port}").send(MESSAGE)
    (mail,) = plain.mails
    assert mail["Subject"] == MESSAGE.subject
    assert mail["Message-ID"] == "<abc123@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().replace("\r\n", "\n") == MESSAGE.text
    assert plain.senders == [("pipeline@example.com", list(PEOPLE))]


def test_line_breaks_and_broken_characters_change_no_header(plain: Catcher) -> None:
    message = Message("failed: a\r\nBcc: evil@example.com\n\udc80", "text \udc80", "x")
    _notifier(f"smtp://localhost:{plain.port}").send(message)
    (mail,) = plain.mails
    assert mail["Bcc"] is None
    assert "failed: a Bcc: evil@example.com" in mail["Subject"]
    assert plain.senders[0][1] == list(PEOPLE)


@pytest.mark.parametrize(
    "address",
    ["a@b\r\nBcc: c@d", "a@b\n", "a b@example.com", "<a@b>", "a@b, c@d", "@b", "a@", "ä@example.com", "a@-b", "a@b..c"],
)
def test_only_plain_addresses_are_taken(address: str) -> None:
    server = MailServer.parse("smtp://localhost")
    with pytest.raises(ValueError, match="not a mail address"):
        MailNotifier(server, sender="a@example.com", recipients=[address])


def test_an_encrypted_connection_is_begun_in_the_clear_or_at_once(tls: ssl.SSLContext) -> None:
    with mail_server(tls=tls) as catcher:
        _notifier(f"smtp://localhost:{catcher.port}?starttls").send(MESSAGE)
        assert catcher.was_encrypted == [True]
    with mail_server(tls=tls, implicit=True) as catcher:
        _notifier(f"smtps://localhost:{catcher.port}").send(MESSAGE)
        assert len(catcher.mails) == 1


def test_the_user_logs_in(tls: ssl.SSLContext) -> None:
    seen = []

    def check(_server: object, _session: object, _envelope: object, _mechanism: object, data: object) -> AuthResult:
        seen.append((data.login, data.password))  # type: ignore[attr-defined]
        return AuthResult(success=seen[-1] == (b"me", b"p@ss/word"), handled=False)

    with mail_server(tls=tls, authenticator=check) as catcher:
        _notifier(f"smtp://me:p%40ss%2Fword@localhost:{catcher.port}?starttls").send(MESSAGE)
        assert len(catcher.mails) == 1
        with pytest.raises(NotDelivered, match="535") as failure:
            _notifier(f"smtp://me:wrong-one@localhost:{catcher.port}?starttls").send(MESSAGE)
    assert "wrong-one" not in str(failure.value)


def test_a_server_without_encryption_or_with_a_foreign_certificate_gets_nothing(
    plain: Catcher, authority: trustme.CA
) -> None:
    with pytest.raises(NotDelivered, match="STARTTLS"):
        _notifier(f"smtp://localhost:{plain.port}?starttls").send(MESSAGE)
    assert plain.mails == []
    with mail_server(tls=server_context(authority)) as catcher:
        with pytest.raises(NotDelivered, match="certificate"):
            _notifier(f"smtp://localhost:{catcher.port}?starttls").send(MESSAGE)
        assert catcher.mails == []


@pytest.mark.parametrize("answer", ["451 try later", "554 looks like spam"])
def test_a_refused_message_is_certainly_not_delivered(plain: Catcher, answer: str) -> None:
    plain.data_answer = answer
    with pytest.raises(NotDelivered, match=answer):
        _notifier(f"smtp://127.0.0.1:{plain.port}").send(MESSAGE)


def test_one_refused_recipient_does_not_keep_the_others_in_the_dark(
    plain: Catcher, caplog: pytest.LogCaptureFixture
) -> None:
    plain.refused = {"boss@example.com": "550 no such person"}
    with caplog.at_level(logging.WARNING):
        _notifier(f"smtp://127.0.0.1:{plain.port}").send(MESSAGE)
    assert plain.senders[0][1] == ["ops@example.com"]
    assert "550 no such person" in caplog.text
    plain.refused["ops@example.com"] = "450 busy"
    with pytest.raises(NotDelivered, match=r"every recipient: 450 busy; 550"):
        _notifier(f"smtp://127.0.0.1:{plain.port}").send(MESSAGE)


def test_silence_after_the_whole_message_is_unknown_not_failed(plain: Catcher) -> None:
    plain.silent_after_data = True
    with pytest.raises(DeliveryUnknown, match="may have been delivered"):
        _notifier(f"smtp://127.0.0.1:{plain.port}", patience=0.3).send(MESSAGE)
    assert len(plain.mails) == 1


@contextmanager
def _scripted(*answers: bytes) -> Iterator[int]:
    """Run a server that gives these answers, one per thing it is sent, and then says nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                for answer in answers:
                    client.sendall(answer)
                    client.recv(65536)
                stopped.wait(5)

        stopped = threading.Event()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        stopped.set()
        thread.join()


@pytest.mark.parametrize("steps", [0, 1, 4], ids=["no greeting", "no answer to EHLO", "no answer to DATA"])
def test_silence_before_the_message_is_not_delivered(steps: int) -> None:
    answers = [b"220 hello\r\n", b"250 hello\r\n", b"250 sender\r\n", b"250 recipient\r\n", b"250 recipient\r\n"]
    with _scripted(*answers[:steps]) as port, pytest.raises(NotDelivered):
        _notifier(f"smtp://127.0.0.1:{port}", timeout=0.3).send(MESSAGE)


def test_a_server_that_is_not_there_is_not_delivered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotDelivered, match="can't be used"):
        _notifier(f"smtp://127.0.0.1:{port}").send(MESSAGE)


@pytest.mark.parametrize(
    ("url", "host", "port", "implicit", "starttls"),
    [
        ("smtps://mail.example.com", "mail.example.com", 465, True, False),
        ("smtp://mail.example.com", "mail.example.com", 25, False, True),
        ("smtp://u:p@mail.example.com", "mail.example.com", 587, False, True),
        ("smtp://mail.example.com:2525?starttls", "mail.example.com", 2525, False, True),
        ("smtp://localhost:1025/", "localhost", 1025, False, False),
        ("smtp://127.0.0.2", "127.0.0.2", 25, False, False),
        ("smtp://[::1]:1025", "::1", 1025, False, False),
        ("smtp://localhost?starttls", "localhost", 25, False, True),
    ],
)
def test_a_url_says_how_the_server_is_spoken_to(
    url: str,
    host: str,
    port: int,
    implicit: bool,  # noqa: FBT001
    starttls: bool,  # noqa: FBT001
) -> None:
    server = MailServer.parse(url)
    assert (server.host, server.port, server.implicit_tls, server.starttls) == (host, port, implicit, starttls)


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.com",
        "http://mail.example.com",
        "smtp://",
        "smtp://host:port",
        "smtp://host:99999",
        "smtp://host/path",
        "smtp://host?tls=no",
        "smtp://host?starttls=false",
        "smtps://host?starttls",
        "smtp://secret-user@host",
        "smtp://:secret@host:x",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(AnalyticsError, match=r"ANALYTICS_SMTP_URL can't be used: .*Write it like") as refusal:
        MailServer.parse(url)
    assert "secret" not in str(refusal.value)


def test_the_settings_choose_the_channel() -> None:
    def chosen(**settings: str) -> object:
        return notifier_for(Settings(**settings))  # type: ignore[arg-type]

    assert isinstance(chosen(), LogNotifier)
    assert isinstance(chosen(smtp_url="smtps://mail.example.com"), LogNotifier)
    mail = chosen(smtp_url="smtps://u:secret@mail.example.com", operators="a@example.com, b@example.com")
    assert isinstance(mail, MailNotifier)
    assert mail.name == "mail through mail.example.com:465 to 2 operators"
    assert "secret" not in repr(MailServer.parse("smtps://u:secret@mail.example.com"))


def test_the_log_gets_one_line(caplog: pytest.LogCaptureFixture) -> None:
    LogNotifier().send(MESSAGE)
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert record.getMessage().startswith("[analytics] failed: daily_aggregates: It failed.")
