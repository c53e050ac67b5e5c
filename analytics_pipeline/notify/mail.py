"""Mail as a channel: one SMTP conversation per message, encrypted, in bounded time.

Belongs here: SMTP. Does not belong here: when to send again (``incidents``).

The conversation is led step by step because the outcome depends on the step: until the final dot the server
has certainly not taken the message; a connection lost after it leaves that open.
"""

import ipaddress
import logging
import re
import smtplib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.mail_addresses import require_address
from analytics_pipeline.notify.notifier import DeliveryUnknown, Message, NotDelivered

_log = logging.getLogger("analytics_pipeline.notify")

_SMTPS_PORT = 465
_SUBMISSION_PORT = 587
_SMTP_PORT = 25
_DATA_WANTED = 354
_ACCEPTED = 250
_REFUSED_FROM = 400
_SUBJECT_CHARACTERS = 180
_SHAPE = "smtps://user:password@host, smtp://user:password@host:587?starttls or smtp://localhost:1025"


@dataclass(frozen=True, slots=True)
class MailServer:
    """A mail server. ``starttls`` is how a connection that begins in the clear becomes encrypted."""

    host: str
    port: int
    implicit_tls: bool
    starttls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> "MailServer":
        """Read ``ANALYTICS_SMTP_URL``; only a server on this machine may be spoken to in the clear.

        Raises ``AnalyticsError``, which never shows the URL: it may hold a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise _unusable("its host or its port can't be read") from error
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise _unusable("it names no mail server")
        if parts.path not in {"", "/"} or parts.fragment or parts.query not in {"", "starttls"}:
            raise _unusable("it may hold nothing after host and port but ?starttls")
        implicit_tls = parts.scheme == "smtps"
        if implicit_tls and parts.query:
            raise _unusable("smtps is encrypted from the start and takes no ?starttls")
        if (parts.username is None) != (parts.password is None):
            raise _unusable("a user needs a password and a password a user")
        plain_port = _SUBMISSION_PORT if parts.username else _SMTP_PORT
        return cls(
            host=parts.hostname,
            port=port or (_SMTPS_PORT if implicit_tls else plain_port),
            implicit_tls=implicit_tls,
            starttls=not implicit_tls and (bool(parts.query) or not _is_loopback(parts.hostname)),
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )

    def __str__(self) -> str:
        """Show host and port."""
        return f"{self.host}:{self.port}"


class MailNotifier:
    """Sends every message to all operators."""

    def __init__(
        self, server: MailServer, *, sender: str, recipients: Sequence[str], timeout: float = 10, patience: float = 20
    ) -> None:
        """Take server and addresses; nothing is opened.

        ``timeout`` bounds each step of the conversation, ``patience`` the wait after the final dot, where
        servers look for spam; seconds. Raises ``ValueError`` for what is not a plain address.
        """
        self._server = server
        self._sender = require_address(sender)
        self._recipients = tuple(require_address(recipient) for recipient in recipients)
        if not self._recipients:
            raise ValueError("a mail needs a recipient")
        self._timeout = timeout
        self._patience = patience

    @property
    def name(self) -> str:
        """The server and how many it reaches."""
        return f"mail through {self._server} to {len(self._recipients)} operators"

    def send(self, message: Message) -> None:
        """Send one mail; see ``Notifier``. Recipients that the server refuses are logged if it takes others."""
        content = re.sub(rb"(?m)^\.", b"..", self._compose(message).as_bytes())
        try:
            session = self._open()
        except OSError as error:
            raise NotDelivered(f"{self._server} can't be used: {_describe(error)}") from error
        is_complete = False
        try:
            self._address(session)
            self._require(session.docmd("DATA"), _DATA_WANTED, "the message")
            session.send(content if content.endswith(b"\r\n") else content + b"\r\n")
            is_complete = True
            if session.sock is not None:
                session.sock.settimeout(self._patience)
            session.send(b".\r\n")
            self._require(session.getreply(), _ACCEPTED, "the message")
        # What smtplib raises is an OSError too; here it means that the connection is gone.
        except OSError as error:
            if is_complete:
                raise DeliveryUnknown(
                    f"{self._server} fell silent after the whole message: it may have been delivered"
                ) from error
            raise NotDelivered(f"{self._server} broke off: {_describe(error)}") from error
        finally:
            _quit(session)

    def _compose(self, message: Message) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        # EmailMessage refuses line breaks in headers; a subject made from an error may well hold some.
        mail["Subject"] = " ".join(message.subject.split())[:_SUBJECT_CHARACTERS]
        mail["From"] = self._sender
        mail["To"] = ", ".join(self._recipients)
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail["Message-ID"] = f"<{message.id}@{self._sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        # Characters that no encoding takes (halves of a pair, from a broken name) are shown escaped.
        mail.set_content(message.text.encode("utf-8", "backslashreplace").decode(), cte="quoted-printable")
        return mail

    def _open(self) -> smtplib.SMTP:
        server = self._server
        # Not the default, the full name of this host: asking for it can take seconds.
        name = socket.gethostname()
        session: smtplib.SMTP
        if server.implicit_tls:
            session = smtplib.SMTP_SSL(
                server.host, server.port, name, timeout=self._timeout, context=ssl.create_default_context()
            )
        else:
            session = smtplib.SMTP(server.host, server.port, name, timeout=self._timeout)
        try:
            session.ehlo_or_helo_if_needed()
            if server.starttls:
                # Raises when the server offers no STARTTLS, and for any answer but yes.
                session.starttls(context=ssl.create_default_context())
                session.ehlo_or_helo_if_needed()
            if server.user is not None:
                session.login(server.user, server.password or "")
        except BaseException:
            session.close()
            raise
        return session

    def _address(self, session: smtplib.SMTP) -> None:
        self._require(session.mail(self._sender), _ACCEPTED, f"the sender {self._sender}")
        refused = {}
        for recipient in self._recipients:
            code, answer = session.rcpt(recipient)
            if code >= _REFUSED_FROM:
                refused[recipient] = f"{code} {_text(answer)}"
        if len(refused) == len(self._recipients):
            raise NotDelivered(f"{self._server} refused every recipient: {'; '.join(refused.values())}")
        for recipient, answer_text in refused.items():
            _log.warning("%s refused the recipient %s: %s", self._server, recipient, answer_text)

    def _require(self, reply: tuple[int, bytes], code: int, what: str) -> None:
        if reply[0] != code:
            raise NotDelivered(f"{self._server} refused {what}: {reply[0]} {_text(reply[1])}")


def _quit(session: smtplib.SMTP) -> None:
    """Say goodbye if the server still listens; whether it answers no longer matters."""
    try:
        if session.sock is not None:
            session.sock.settimeout(1)
            session.quit()
    except OSError:
        pass
    finally:
        session.close()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _describe(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    return " ".join(str(error).split()) or type(error).__name__


def _text(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return " ".join(text.split())


def _unusable(reason: str) -> AnalyticsError:
    return AnalyticsError(f"ANALYTICS_SMTP_URL can't be used: {reason}. Write it like {_SHAPE}.")
