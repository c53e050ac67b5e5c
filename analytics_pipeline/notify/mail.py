"""Mail as a channel: one SMTP conversation per message, encrypted, in bounded time.

Belongs here: SMTP, for operators and for the outbox alike. Does not belong here: when to send again
(``incidents``, ``outbox``).

The conversation is led step by step because the outcome depends on the step: until the final dot the server
has certainly not taken the message; a connection lost after it leaves that open.
"""

import ipaddress
import logging
import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Protocol
from urllib.parse import unquote, urlsplit

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.mail_addresses import require_address
from analytics_pipeline.notify.mail_folder import MailFolder
from analytics_pipeline.notify.notifier import ChannelDown, DeliveryUnknown, Message, NotDelivered, Refused
from analytics_pipeline.notify.patience import Patience

_log = logging.getLogger("analytics_pipeline.notify")

_SMTPS_PORT = 465
_SUBMISSION_PORT = 587
_SMTP_PORT = 25
_DATA_WANTED = 354
_ACCEPTED = 250
# First digits of an answer.
_YES = 2
_NOT_NOW = 4
_NEVER = 5
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
            starttls=not implicit_tls and (bool(parts.query) or not is_loopback(parts.hostname)),
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )

    def __str__(self) -> str:
        """Show host and port."""
        return f"{self.host}:{self.port}"

    def deliver(
        self,
        mail: EmailMessage,
        sender: str,
        recipients: Sequence[str],
        patience: Patience,
        before_last: Callable[[], None] = lambda: None,
    ) -> None:
        """Send one mail. ``before_last`` is called when nothing but the final dot is left to be said.

        Recipients that the server refuses are logged if it takes others. Raises ``NotDelivered``, as ``Refused``
        where the server answered with a permanent error and as ``ChannelDown`` before it was told anything of
        the mail, and ``DeliveryUnknown``; what ``before_last`` raises ends the conversation without a delivery.
        """
        content = re.sub(rb"(?m)^\.", b"..", mail.as_bytes())
        content = content if content.endswith(b"\r\n") else content + b"\r\n"
        try:
            session = self._open(patience)
        except OSError as error:
            raise ChannelDown(f"{self} can't be used: {_describe(error)}") from error
        is_inside = is_complete = False
        try:
            self._address(session, sender, recipients, len(content))
            self._require(session.docmd("DATA"), _DATA_WANTED, "the message")
            is_inside = True
            session.send(content)
            before_last()
            is_complete = True
            if session.sock is not None:
                session.sock.settimeout(patience.answer)
            session.send(b".\r\n")
            answer = session.getreply()
            is_inside = False
            self._require_taken(answer)
        # What smtplib raises is an OSError too; here it means that the connection is gone.
        except OSError as error:
            if is_complete:
                raise DeliveryUnknown(
                    f"{self} fell silent after the whole message: it may have been delivered"
                ) from error
            raise NotDelivered(f"{self} broke off: {_describe(error)}") from error
        finally:
            # Inside a message a farewell would be read as a part of it.
            if is_inside:
                session.close()
            else:
                _quit(session)

    def _open(self, patience: Patience) -> smtplib.SMTP:
        # Not the default, the full name of this host: asking for it can take seconds.
        name = socket.gethostname()
        session: smtplib.SMTP
        if self.implicit_tls:
            session = smtplib.SMTP_SSL(
                self.host, self.port, name, timeout=patience.step, context=ssl.create_default_context()
            )
        else:
            session = smtplib.SMTP(self.host, self.port, name, timeout=patience.step)
        try:
            session.ehlo_or_helo_if_needed()
            if self.starttls:
                # Raises when the server offers no STARTTLS, and for any answer but yes.
                session.starttls(context=ssl.create_default_context())
                session.ehlo_or_helo_if_needed()
            if self.user is not None:
                session.login(self.user, self.password or "")
        except BaseException:
            session.close()
            raise
        return session

    def _address(self, session: smtplib.SMTP, sender: str, recipients: Sequence[str], size: int) -> None:
        options = [f"size={size}"] if session.has_extn("size") else []
        self._require(session.mail(sender, options), _ACCEPTED, f"the sender {sender}")
        refused = {}
        for recipient in recipients:
            code, answer = session.rcpt(recipient)
            if _kind(code) != _YES:
                refused[recipient] = (code, f"{code} {_text(answer)}")
        if len(refused) == len(recipients):
            reasons = f"{self} refused every recipient: {'; '.join(text for _, text in refused.values())}"
            raise (Refused if all(_kind(code) == _NEVER for code, _ in refused.values()) else NotDelivered)(reasons)
        for recipient, (_, answer_text) in refused.items():
            _log.warning("%s refused the recipient %s: %s", self, recipient, answer_text)

    def _require(self, reply: tuple[int, bytes], wanted: int, what: str) -> None:
        code, answer = reply
        if code != wanted:
            raise (Refused if _kind(code) == _NEVER else NotDelivered)(f"{self} refused {what}: {code} {_text(answer)}")

    def _require_taken(self, reply: tuple[int, bytes]) -> None:
        """Judge the answer to the whole message; one that makes no sense leaves open what became of it."""
        code, answer = reply
        if _kind(code) == _YES:
            return
        if _kind(code) not in {_NOT_NOW, _NEVER}:
            raise DeliveryUnknown(f"{self} answered the whole message with {code} {_text(answer)}")
        self._require(reply, _ACCEPTED, "the message")


class MailTransport(Protocol):
    """Takes mails to where they are delivered; ``MailServer.deliver`` says what it raises."""

    def deliver(
        self,
        mail: EmailMessage,
        sender: str,
        recipients: Sequence[str],
        patience: Patience,
        before_last: Callable[[], None] = ...,
    ) -> None:
        """Hand one mail over."""
        ...


def mail_transport(url: str) -> MailTransport:
    """Return what ``ANALYTICS_SMTP_URL`` names: a mail server, or for ``file:///folder`` a folder.

    Raises ``AnalyticsError`` for one that can't be used as it is given.
    """
    return MailFolder.parse(url) if url.startswith("file:") else MailServer.parse(url)


class MailNotifier:
    """Sends every message to all operators."""

    def __init__(
        self,
        transport: MailTransport,
        *,
        sender: str,
        recipients: Sequence[str],
        timeout: float = 10,
        patience: float = 20,
    ) -> None:
        """Take transport and addresses; nothing is opened.

        ``timeout`` bounds each step of the conversation, ``patience`` the wait after the final dot, where
        servers look for spam; seconds. Raises ``ValueError`` for what is not a plain address.
        """
        self._transport = transport
        self._sender = require_address(sender)
        self._recipients = tuple(require_address(recipient) for recipient in recipients)
        if not self._recipients:
            raise ValueError("a mail needs a recipient")
        self._patience = Patience(timeout, patience)

    @property
    def name(self) -> str:
        """The server and how many it reaches."""
        return f"mail through {self._transport} to {len(self._recipients)} operators"

    def send(self, message: Message) -> None:
        """Send one mail; see ``Notifier``. Recipients that the server refuses are logged if it takes others."""
        self._transport.deliver(self._compose(message), self._sender, self._recipients, self._patience)

    def _compose(self, message: Message) -> EmailMessage:
        mail = new_mail(
            sender=self._sender,
            recipients=self._recipients,
            # A subject made from an error may well hold line breaks.
            subject=" ".join(message.subject.split())[:_SUBJECT_CHARACTERS],
            message_id=f"<{message.id}@{domain_of(self._sender)}>",
        )
        # Characters that no encoding takes (halves of a pair, from a broken name) are shown escaped.
        mail.set_content(message.text.encode("utf-8", "backslashreplace").decode(), cte="quoted-printable")
        return mail


def new_mail(*, sender: str, recipients: Sequence[str], subject: str, message_id: str) -> EmailMessage:
    """Return a mail with the headers of every mail of the program, dated now, and without content.

    Raises ``ValueError`` for a line break in a header.
    """
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = subject
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = message_id
    mail["Auto-Submitted"] = "auto-generated"
    return mail


def domain_of(address: str) -> str:
    """Return what follows the at sign."""
    return address.rpartition("@")[2]


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


def _kind(code: int) -> int:
    return code // 100


def is_loopback(host: str) -> bool:
    """Tell whether a host's name or address can only be this machine."""
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
