"""Mail reaches a real server, encrypted, and the outcome is told as it is."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from aiosmtpd.smtp import AuthResult
from pydantic import ValidationError

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.mail_addresses import Mailbox
from analytics_pipeline.messages.addresses import operator_targets
from analytics_pipeline.messages.channel import DeliveryUnknown, NotDelivered, Refused
from analytics_pipeline.messages.channels.log import LogChannel
from analytics_pipeline.messages.channels.mail import MailChannel
from analytics_pipeline.messages.message import Content
from analytics_pipeline.messages.smtp import MailServer
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import Settings
from analytics_pipeline_tests.messages.mail_catcher import Catcher, mail_server
from analytics_pipeline_tests.messages.sample_messages import claimed, no_mark

CONTENT = Content(
    subject="[analytics] failed: daily_aggregates", text="It failed.\n.\n.. with dots\nM\u00fcller \u20bf\n"
)
SENDER = Mailbox("pipeline@example.com")


def _send(
    server: str | MailServer,
    content: Content = CONTENT,
    *,
    to: str = "ops@example.com",
    sender: Mailbox = SENDER,
    step: float = 10,
    answer: float = 20,
) -> None:
    server = MailServer.parse(server) if isinstance(server, str) else server
    channel = MailChannel(server, sender=sender, artifacts_root="", timeouts=Timeouts(step, answer))
    channel.send(claimed(content, to, f"abc123@{sender.domain}"), no_mark)


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


def test_a_mail_arrives_whole(plain: Catcher) -> None:
    _send(f"smtp://127.0.0.1:{plain.port}")
    (mail,) = plain.mails
    assert mail["Subject"] == CONTENT.subject
    assert mail["Message-ID"] == "<abc123@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().replace("\r\n", "\n") == CONTENT.text
    assert plain.senders == [("pipeline@example.com", ["ops@example.com"])]


def test_line_breaks_and_broken_characters_change_no_header(plain: Catcher) -> None:
    content = Content(subject="failed: a\r\nBcc: evil@example.com\n\udc80", text="text \udc80")
    _send(f"smtp://localhost:{plain.port}", content)
    (mail,) = plain.mails
    assert mail["Bcc"] is None
    assert "failed: a Bcc: evil@example.com" in mail["Subject"]
    assert plain.senders[0][1] == ["ops@example.com"]


@pytest.mark.parametrize(
    "address",
    [
        *(
            "a@b\r\nBcc: c@d",
            "a@b\n",
            "a b@example.com",
            "<a@b>",
            "a@b, c@d",
            "@b",
            "a@",
            "ä@example.com",
            "a@-b",
            "a@b..c",
        ),
        *(
            "a..b@x.com",
            ".a@x.com",
            "a.@x.com",
            '"a b"@x.com',
            "a@[127.0.0.1]",
            f"{'a' * 65}@x.com",
            f"a@{'b' * 64}.com",
        ),
    ],
)
def test_only_plain_addresses_are_taken(address: str) -> None:
    with pytest.raises(ValueError, match="not a mail address"):
        MailChannel.require_target(address)


def test_a_domain_in_any_script_is_reached_by_its_ascii_form(plain: Catcher) -> None:
    sender = Mailbox.parse("Bücher <info@bücher.example>")
    _send(f"smtp://127.0.0.1:{plain.port}", to="info@bücher.example", sender=sender)
    assert plain.senders == [("info@xn--bcher-kva.example", ["info@xn--bcher-kva.example"])]
    assert plain.mails[0]["From"].addresses[0].display_name == "Bücher"
    assert plain.mails[0]["Message-ID"] == "<abc123@xn--bcher-kva.example>"


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("a@example.com", "", "a@example.com"),
        (" <a@example.com>", "", "a@example.com"),
        ("Finance & more <a@example.com>", "Finance & more", "a@example.com"),
        ('"Müller, \\"S\\"" <a@bücher.example>', 'Müller, "S"', "a@xn--bcher-kva.example"),
        ("analytics@mailhub.local", "", "analytics@mailhub.local"),
    ],
)
def test_a_sender_may_have_a_name(text: str, name: str, address: str) -> None:
    assert Settings(mail_from=text).mail_sender == Mailbox(address, name)
    assert Settings(mail_from="a@b.example", mail_reply_to=text).mail_reply == Mailbox(address, name)


@pytest.mark.parametrize(
    "text", ["Name", "a..b@x.com", "A\nBcc: x <a@b.c>", "\u202eevil <a@b.c>", "a@b.c <d@e.f> g", "a <b"]
)
def test_a_sender_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="mail_from"):
        Settings(mail_from=text)


@pytest.mark.parametrize(
    ("host", "setting", "stated"),
    [
        ("mail.example.com", "", "mail.example.com"),
        ("3f2a9c", "", "[127.0.0.1]"),
        ("localhost.localdomain", "", "[127.0.0.1]"),
        ("under_score.example.com", "", "[127.0.0.1]"),
        ("10.0.0.1", "", "[127.0.0.1]"),
        ("3f2a9c", "relay.example.com", "relay.example.com"),
        ("mail.example.com", "[192.0.2.7]", "[192.0.2.7]"),
    ],
)
def test_this_host_introduces_itself_by_a_name_that_servers_take(
    plain: Catcher, monkeypatch: pytest.MonkeyPatch, host: str, setting: str, stated: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    server = MailServer.parse(f"smtp://127.0.0.1:{plain.port}", ehlo=Settings(mail_ehlo=setting).mail_ehlo)
    _send(server)
    assert plain.ehlos == [stated]


def test_it_does_so_after_encryption_too_and_by_an_address_of_either_kind(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "3f2a9c")
    for implicit, scheme, query in ((False, "smtp", "?starttls"), (True, "smtps", "")):
        with mail_server(tls=tls, implicit=implicit) as catcher:
            _send(f"{scheme}://localhost:{catcher.port}{query}")
            assert catcher.ehlos == ["[127.0.0.1]"]
    with mail_server(host="::1") as catcher:
        _send(f"smtp://[::1]:{catcher.port}")
        assert catcher.ehlos == ["[IPv6:::1]"]


@pytest.mark.parametrize("name", ["two words", "a\r\nMAIL FROM:<x@y.z>", "bücher.example", "[a"])
def test_a_name_that_would_be_another_command_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="mail_ehlo"):
        Settings(mail_ehlo=name)


def test_a_relay_without_encryption_is_used_when_that_is_said(plain: Catcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analytics_pipeline.messages.smtp.is_loopback", lambda host: False)
    with pytest.raises(NotDelivered, match=r"STARTTLS.* is written smtp\+plain://"):
        _send(f"smtp://127.0.0.1:{plain.port}")
    _send(f"smtp+plain://127.0.0.1:{plain.port}")
    assert plain.was_encrypted == [False]


def test_an_encrypted_connection_is_begun_in_the_clear_or_at_once(tls: ssl.SSLContext) -> None:
    with mail_server(tls=tls) as catcher:
        _send(f"smtp://localhost:{catcher.port}?starttls")
        assert catcher.was_encrypted == [True]
    with mail_server(tls=tls, implicit=True) as catcher:
        _send(f"smtps://localhost:{catcher.port}")
        assert len(catcher.mails) == 1


def test_the_user_logs_in(tls: ssl.SSLContext) -> None:
    seen = []

    def check(_server: object, _session: object, _envelope: object, _mechanism: object, data: object) -> AuthResult:
        seen.append((data.login, data.password))  # type: ignore[attr-defined]
        return AuthResult(success=seen[-1] == (b"me", b"p@ss/word"), handled=False)

    with mail_server(tls=tls, authenticator=check) as catcher:
        _send(f"smtp://me:p%40ss%2Fword@localhost:{catcher.port}?starttls")
        assert len(catcher.mails) == 1
        with pytest.raises(NotDelivered, match="535") as failure:
            _send(f"smtp://me:wrong-one@localhost:{catcher.port}?starttls")
    assert "wrong-one" not in str(failure.value)


def test_a_server_without_encryption_or_with_a_foreign_certificate_gets_nothing(
    plain: Catcher, authority: trustme.CA
) -> None:
    with pytest.raises(NotDelivered, match="STARTTLS"):
        _send(f"smtp://localhost:{plain.port}?starttls")
    assert plain.mails == []
    with mail_server(tls=server_context(authority)) as catcher:
        with pytest.raises(NotDelivered, match="certificate"):
            _send(f"smtp://localhost:{catcher.port}?starttls")
        assert catcher.mails == []


@pytest.mark.parametrize("answer", ["451 try later", "554 looks like spam"])
def test_a_refused_message_is_certainly_not_delivered(plain: Catcher, answer: str) -> None:
    plain.data_answer = answer
    with pytest.raises(NotDelivered, match=answer):
        _send(f"smtp://127.0.0.1:{plain.port}")


@pytest.mark.parametrize(("answer", "error"), [("550 no such person", Refused), ("450 busy", NotDelivered)])
def test_a_refused_recipient_is_named_with_the_answer(plain: Catcher, answer: str, error: type[NotDelivered]) -> None:
    plain.refused = {"ops@example.com": answer}
    with pytest.raises(NotDelivered, match=f"refused the recipient ops@example.com: {answer}") as refusal:
        _send(f"smtp://127.0.0.1:{plain.port}")
    assert type(refusal.value) is error
    assert plain.mails == []


@pytest.mark.slow
def test_silence_after_the_whole_message_is_unknown_not_failed(plain: Catcher) -> None:
    plain.silent_after_data = True
    with pytest.raises(DeliveryUnknown, match="may have been delivered"):
        _send(f"smtp://127.0.0.1:{plain.port}", answer=0.3)
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
@pytest.mark.slow
def test_silence_before_the_message_is_not_delivered(steps: int) -> None:
    answers = [b"220 hello\r\n", b"250 hello\r\n", b"250 sender\r\n", b"250 recipient\r\n", b"250 recipient\r\n"]
    with _scripted(*answers[:steps]) as port, pytest.raises(NotDelivered):
        _send(f"smtp://127.0.0.1:{port}", step=0.3)


def test_a_server_that_is_not_there_is_not_delivered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotDelivered, match="can't be used"):
        _send(f"smtp://127.0.0.1:{port}")


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
        ("smtp+plain://relay.internal", "relay.internal", 25, False, False),
        ("smtp+plain://10.0.0.5:2525", "10.0.0.5", 2525, False, False),
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
        "smtp+plain://secret-user:secret@relay",
        "smtp+plain://relay?starttls",
        "smtp+tls://host",
        "smtps://user:secr%C3%A9t@host",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(AnalyticsError, match=r"ANALYTICS_SMTP_URL can't be used: .*Write it like") as refusal:
        MailServer.parse(url)
    assert "secret" not in str(refusal.value)


def test_the_settings_say_where_operators_are_notified() -> None:
    def chosen(**settings: str) -> list[str]:
        return [str(address) for address in operator_targets(Settings(**settings))]  # type: ignore[arg-type]

    slack = "ops=https://hooks.slack.com/services/SECRET"
    assert chosen() == chosen(smtp_url="smtps://mail.example.com") == ["log:warning"]
    both = "a@example.com, mail:B@example.com, slack:ops, A@example.com"
    assert chosen(smtp_url="smtps://mail.example.com", operators=both, slack=slack) == [
        "mail:a@example.com",
        "mail:B@example.com",
        "slack:ops",
    ]
    assert chosen(operators=both, slack=slack) == ["log:warning", "slack:ops"], "no mail server"
    with pytest.raises(AnalyticsError, match=r"ANALYTICS_OPERATORS: ANALYTICS_SLACK has no 'opps' \(did you mean ops"):
        chosen(operators="slack:opps", slack=slack)
    key = "0123456789abcdef" * 2
    with pytest.raises(AnalyticsError, match=r"ANALYTICS_OPERATORS: ANALYTICS_PAGERDUTY has no '012345\.\.\.'"):
        chosen(operators=f"pagerduty:{key}")
    with pytest.raises(AnalyticsError, match=r"ANALYTICS_OPERATORS: 'slak' is no channel \(did you mean slack"):
        chosen(operators="slak:ops")
    assert "secret" not in repr(MailServer.parse("smtps://u:secret@mail.example.com"))


def test_the_log_gets_one_line_that_steers_no_terminal(caplog: pytest.LogCaptureFixture) -> None:
    content = replace(CONTENT, text=f"{CONTENT.text}\x1b[31m\u202e")
    LogChannel().send(claimed(content, "log:warning"), no_mark)
    (record,) = caplog.records
    assert record.getMessage().endswith("\\u001b[31m\\u202e")
    assert "\n" not in record.getMessage()
    assert record.getMessage().startswith("[analytics] failed: daily_aggregates: It failed.")
