"""Mail servers of Microsoft 365 and Google are logged in to by tokens, which are asked for by the right forms."""

import base64
import json
import logging
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.mail_addresses import Mailbox
from analytics_pipeline.messages.channel import ChannelDown
from analytics_pipeline.messages.channels.mail import MailChannel
from analytics_pipeline.messages.message import Content
from analytics_pipeline.messages.oauth import TokenSource
from analytics_pipeline.messages.smtp import MailServer
from analytics_pipeline_tests.messages.mail_catcher import Catcher, mail_server
from analytics_pipeline_tests.messages.sample_messages import claimed, no_mark
from analytics_pipeline_tests.messages.test_mail import server_context
from analytics_pipeline_tests.messages.token_server import Tokens, token_server

pytestmark = pytest.mark.slow

USER = "reports@acme.example"
MESSAGE = claimed(Content(subject="subject", text="text\n"), "ops@example.com")
SECRET = "s3cret/with+signs="  # noqa: S105
REFRESH_TOKEN = "1//refresh-t0ken"  # noqa: S105


class TokenMailbox(Catcher):
    """A mail server that takes the newest token of its user, or says why not, as Google and Microsoft do."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self.tokens = tokens
        self.log_ins: list[str] = []

    async def auth_XOAUTH2(self, server: SMTP, arguments: list[str]) -> AuthResult:  # noqa: N802 - aiosmtpd's name
        said = base64.b64decode(arguments[1], validate=True).decode()
        self.log_ins.append(said)
        if said == f"user={USER}\x01auth=Bearer {self.tokens.given[-1]}\x01\x01":
            return AuthResult(success=True)
        why = base64.b64encode(b'{"status":"400","schemes":"Bearer"}').decode()
        assert await server.challenge_auth(why, encode_to_b64=False) == b""
        await server.push(f"535 5.7.8 {said.partition('Bearer ')[2].strip(chr(1))} is not accepted")
        return AuthResult(success=False, handled=True)


@pytest.fixture
def tokens() -> Iterator[Tokens]:
    with token_server() as tokens:
        yield tokens


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def mailbox(
    authority: trustme.CA, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TokenMailbox]:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls: ssl.SSLContext = server_context(authority)
    catcher = TokenMailbox(tokens)
    with mail_server(tls=tls, catcher=catcher):
        yield catcher


def _channel(mailbox: Catcher, oauth: str | dict[str, str]) -> MailChannel:
    text = oauth if isinstance(oauth, str) else json.dumps(oauth)
    url = f"smtp://reports%40acme.example@localhost:{mailbox.port}?starttls"
    server = MailServer.parse(url, oauth=text)
    return MailChannel(server, sender=Mailbox(USER), artifacts_root="")


def _microsoft(tokens: Tokens) -> dict[str, str]:
    wanted = {
        "grant_type": "client_credentials",
        "client_id": "app-1",
        "client_secret": SECRET,
        "scope": "https://outlook.office365.com/.default",
    }
    tokens.path = "/tenant-1/oauth2/v2.0/token"
    tokens.check = lambda form: form == wanted
    return {
        "type": "microsoft",
        "tenant": "tenant-1",
        "client_id": "app-1",
        "client_secret": SECRET,
        "token_uri": f"{tokens.url}/tenant-1/oauth2/v2.0/token",
    }


def _authorized_user(tokens: Tokens) -> dict[str, str]:
    wanted = {
        "grant_type": "refresh_token",
        "client_id": "app-1.apps.example",
        "client_secret": SECRET,
        "refresh_token": REFRESH_TOKEN,
    }
    tokens.check = lambda form: form == wanted
    return {**wanted, "type": "authorized_user", "token_uri": f"{tokens.url}/token"}


def _service_account(tokens: Tokens) -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    url = f"{tokens.url}/token"

    def check(form: dict[str, str]) -> bool:
        signed = form.pop("assertion")
        claims = jwt.decode(signed, key.public_key(), algorithms=["RS256"], audience=url)
        assert jwt.get_unverified_header(signed) == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
        assert claims.pop("exp") - claims.pop("iat") <= 3600
        return form == {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"} and claims == {
            "iss": "mailer@project.iam.example",
            "sub": USER,
            "scope": "https://mail.google.com/",
            "aud": url,
        }

    tokens.check = check
    return {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "key-1",
        "private_key": pem,
        "client_email": "mailer@project.iam.example",
        "token_uri": url,
    }


@pytest.mark.parametrize("grant", [_microsoft, _authorized_user, _service_account])
def test_a_token_is_asked_for_once_and_logs_in_for_every_mail(
    mailbox: TokenMailbox, tokens: Tokens, grant: Callable[[Tokens], dict[str, str]]
) -> None:
    oauth = grant(tokens)
    for _ in range(3):
        # As each round of sending does: from the settings.
        _channel(mailbox, oauth).send(MESSAGE, no_mark)
    assert len(mailbox.mails) == 3
    assert mailbox.was_encrypted == [True] * 3
    assert mailbox.log_ins == [f"user={USER}\x01auth=Bearer ya29.token-0\x01\x01"] * 3
    assert tokens.given == ["ya29.token-0"]


def test_a_token_that_has_ended_is_renewed(mailbox: TokenMailbox, tokens: Tokens) -> None:
    tokens.seconds = "0"
    channel = _channel(mailbox, _microsoft(tokens))
    channel.send(MESSAGE, no_mark)
    channel.send(MESSAGE, no_mark)
    assert tokens.given == ["ya29.token-0", "ya29.token-1"]
    assert len(mailbox.mails) == 2


def test_a_token_that_was_withdrawn_is_renewed_once(mailbox: TokenMailbox, tokens: Tokens) -> None:
    channel = _channel(mailbox, _authorized_user(tokens))
    channel.send(MESSAGE, no_mark)
    tokens.given.append("another")
    channel.send(MESSAGE, no_mark)
    assert len(mailbox.mails) == 2
    assert len(mailbox.log_ins) == 3


def test_a_mailbox_that_refuses_a_new_token_is_not_asked_again(mailbox: TokenMailbox, tokens: Tokens) -> None:
    oauth = _authorized_user(tokens)
    url = f"smtp://somebody%40acme.example@localhost:{mailbox.port}?starttls"
    server = MailServer.parse(url, oauth=json.dumps(oauth))
    with pytest.raises(ChannelDown, match=r"535 5\.7\.8 \.\.\. is not accepted") as failure:
        MailChannel(server, sender=Mailbox(USER), artifacts_root="").send(MESSAGE, no_mark)
    assert len(mailbox.log_ins) == 1
    assert "ya29" not in str(failure.value)


def test_a_refusal_says_why_and_shows_no_secret(
    mailbox: TokenMailbox, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    oauth = {**_microsoft(tokens), "client_secret": "wrong-s3cret"}
    tokens.refusal = {
        "error": "invalid_client",
        "error_description": "AADSTS7000215: Invalid client secret 'wrong-s3cret'.\r\n\x1b[31mTrace ID",
    }
    channel = _channel(mailbox, oauth)
    with caplog.at_level(logging.DEBUG), pytest.raises(ChannelDown) as failure:
        channel.send(MESSAGE, no_mark)
    assert str(failure.value) == (
        f"127.0.0.1 gives no token for {USER} (401): invalid_client: AADSTS7000215: Invalid client secret '...'. "
        "[31mTrace ID. Check ANALYTICS_SMTP_OAUTH"
    )
    source = TokenSource(json.dumps(oauth), USER)
    shown = [repr(failure.value), repr(channel), repr(source), str(source), caplog.text]
    shown += [repr(MailServer.parse("smtps://u@mail.example.com", oauth=json.dumps(oauth)))]
    assert "wrong-s3cret" not in "".join(shown)


def test_a_redirect_gets_no_secret(mailbox: TokenMailbox, tokens: Tokens) -> None:
    seen: list[dict[str, str]] = []
    oauth = _microsoft(tokens)
    tokens.check = lambda form: bool(seen.append(form))  # type: ignore[func-returns-value]
    tokens.redirects_to = f"{tokens.url}/elsewhere"
    with pytest.raises(ChannelDown, match="307"):
        _channel(mailbox, oauth).send(MESSAGE, no_mark)
    assert len(seen) == 1


def test_a_file_holds_it_and_may_be_replaced(mailbox: TokenMailbox, tokens: Tokens, tmp_path: Path) -> None:
    oauth = _microsoft(tokens)
    file = tmp_path / "oauth.json"
    file.write_text(json.dumps({**oauth, "client_secret": "an old one"}))
    channel = _channel(mailbox, str(file))
    with pytest.raises(ChannelDown, match="gives no token"):
        channel.send(MESSAGE, no_mark)
    file.write_text(json.dumps(oauth))
    channel.send(MESSAGE, no_mark)
    assert len(mailbox.mails) == 1


def test_without_another_address_the_usual_ones_are_asked() -> None:
    microsoft = {"type": "microsoft", "tenant": "acme.example", "client_id": "a", "client_secret": "b"}
    url = "https://login.microsoftonline.com/acme.example/oauth2/v2.0/token"
    assert TokenSource(json.dumps(microsoft), USER).url == url
    google = {"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}
    assert TokenSource(json.dumps(google), USER).url == "https://oauth2.googleapis.com/token"


@pytest.mark.parametrize(
    ("oauth", "reason"),
    [
        ("no-such-s3cret.json", "neither a JSON object nor a file that can be read"),
        ('{"type": "microsoft", s3cret', "it is no JSON object"),
        ('{"type": "external_account"}', "one of microsoft, authorized_user, service_account"),
        ('{"type": "microsoft", "tenant": "a", "client_secret": "s3cret"}', "the type microsoft needs client_id"),
        ('{"type": "service_account", "client_email": "a"}', "needs private_key"),
        (
            '{"type": "microsoft", "tenant": "a", "client_id": "a", "client_secret": "s3cret", '
            '"token_uri": "http://tokens.example.com/s3cret"}',
            "token_uri has to be an https address",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_without_showing_it(oauth: str, reason: str) -> None:
    with pytest.raises(AnalyticsError, match=f"ANALYTICS_SMTP_OAUTH can't be used: .*{reason}") as refusal:
        MailServer.parse("smtps://u@mail.example.com", oauth=oauth)
    assert "s3cret" not in str(refusal.value)


def test_a_key_that_is_none_is_refused_without_showing_it(mailbox: TokenMailbox, tokens: Tokens) -> None:
    oauth = {**_service_account(tokens), "private_key": "-----BEGIN PRIVATE KEY-----\ns3cret\n"}
    with pytest.raises(ChannelDown, match="no RSA key") as refusal:
        _channel(mailbox, oauth).send(MESSAGE, no_mark)
    assert "s3cret" not in repr(refusal.value)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize("url", ["smtps://mail.example.com", "smtps://u:s3cret@mail.example.com"])
def test_a_token_needs_a_mailbox_and_takes_no_password(url: str) -> None:
    oauth = json.dumps({"type": "microsoft", "tenant": "a", "client_id": "a", "client_secret": "b"})
    with pytest.raises(AnalyticsError, match="names the mailbox as its user, and no password"):
        MailServer.parse(url, oauth=oauth)
