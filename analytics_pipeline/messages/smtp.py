"""A mail server: one SMTP conversation per mail, encrypted, in bounded time.

The conversation is led step by step because the outcome depends on the step: until the final dot the server
has certainly not taken the message; a connection lost after it leaves that open.
"""

import ipaddress
import re
import smtplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote, urlsplit

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.channel import ChannelDown, DeliveryUnknown, NotDelivered, Refused
from analytics_pipeline.messages.loopback import is_loopback
from analytics_pipeline.messages.mail_folder import MailFolder
from analytics_pipeline.messages.mime import Mail
from analytics_pipeline.messages.oauth import TokenSource, token_source
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.text import visible_line

_SMTPS_PORT = 465
_SUBMISSION_PORT = 587
_SMTP_PORT = 25
_DATA_WANTED = 354
_ACCEPTED = 250
# First digits of an answer.
_YES = 2
_NOT_NOW = 4
_NEVER = 5
_PLAIN = "smtp+plain"
_SHAPE = (
    "smtps://user:password@host, smtp://user:password@host:587?starttls, smtp://localhost:1025, or "
    "smtp+plain://relay:25 for a relay without encryption"
)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# With a dot, and what follows the last one is no number: a name that others than this machine may know.
_is_full_name = re.compile(rf"(?=.{{1,255}}$){_LABEL}(?:\.{_LABEL})*\.(?![0-9]+$){_LABEL}").fullmatch


@dataclass(frozen=True, slots=True)
class MailServer:
    """A mail server. ``starttls`` is how a connection that begins in the clear becomes encrypted.

    ``tokens`` takes the place of a password. ``ehlo`` is by what name this host introduces itself, empty: its own full
    name, or else its address.
    """

    host: str
    port: int
    implicit_tls: bool
    starttls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tokens: TokenSource | None = field(default=None, repr=False)
    ehlo: str = ""

    @classmethod
    def parse(cls, url: str, *, oauth: str | None = None, ehlo: str = "") -> "MailServer":
        """Read ``ANALYTICS_SMTP_URL`` and ``ANALYTICS_SMTP_OAUTH``.

        In the clear only a server on this machine is spoken to, and one that is written ``smtp+plain://``, to which no
        password is sent. Raises ``AnalyticsError``, which never shows the URL: it may hold a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise _unusable("its host or its port can't be read") from error
        if parts.scheme not in {"smtp", "smtps", _PLAIN} or not parts.hostname:
            raise _unusable("it names no mail server")
        if parts.path not in {"", "/"} or parts.fragment or parts.query not in {"", "starttls"}:
            raise _unusable("it may hold nothing after host and port but ?starttls")
        implicit_tls = parts.scheme == "smtps"
        is_plain = parts.scheme == _PLAIN
        if (implicit_tls or is_plain) and parts.query:
            raise _unusable(f"{parts.scheme} takes no ?starttls: it is encrypted from the start, or not at all")
        _require_credentials(parts.username, parts.password, has_oauth=oauth is not None, is_plain=is_plain)
        user = None if parts.username is None else unquote(parts.username)
        plain_port = _SUBMISSION_PORT if user else _SMTP_PORT
        return cls(
            host=parts.hostname,
            port=port or (_SMTPS_PORT if implicit_tls else plain_port),
            implicit_tls=implicit_tls,
            starttls=not (implicit_tls or is_plain) and (bool(parts.query) or not is_loopback(parts.hostname)),
            user=user,
            password=None if parts.password is None else unquote(parts.password),
            tokens=None if oauth is None or user is None else token_source(oauth, user),
            ehlo=ehlo,
        )

    def __str__(self) -> str:
        """Show host and port."""
        return f"{self.host}:{self.port}"

    def deliver(self, mail: Mail, timeouts: Timeouts, before_last: Callable[[], None] = lambda: None) -> None:
        """Send one mail.

        ``before_last`` is called when nothing but the final dot is left to be said. Raises ``NotDelivered``, as
        ``Refused`` where the server answered with a permanent error and as ``ChannelDown`` before it was sent anything
        of the mail, and ``DeliveryUnknown``; what ``before_last`` raises ends the conversation without a delivery.
        """
        try:
            content = mail.as_bytes()
        except ValueError as error:
            raise Refused(f"no mail can be made of it: {error}") from error
        content = re.sub(rb"(?m)^\.", b"..", content)
        content = content if content.endswith(b"\r\n") else content + b"\r\n"
        try:
            session = self._open(timeouts)
        except OSError as error:
            raise ChannelDown(f"{self} can't be used: {self._describe(error)}") from error
        is_inside = is_complete = False
        try:
            self._address(session, mail.sender.address, mail.recipient, len(content))
            self._require(session.docmd("DATA"), _DATA_WANTED, "the message")
            is_inside = True
            session.send(content)
            before_last()
            is_complete = True
            if session.sock is not None:
                session.sock.settimeout(timeouts.answer)
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
            raise NotDelivered(f"{self} broke off: {self._describe(error)}") from error
        finally:
            # Inside a message a farewell would be read as a part of it.
            if is_inside:
                session.close()
            else:
                _quit(session)

    def _open(self, timeouts: Timeouts) -> smtplib.SMTP:
        """Return a session that is logged in; a token that was taken before and is refused now is renewed once."""
        try:
            return self._log_in(timeouts)
        except smtplib.SMTPAuthenticationError:
            if self.tokens is None or not self.tokens.forget():
                raise
            return self._log_in(timeouts)

    def _log_in(self, timeouts: Timeouts) -> smtplib.SMTP:
        # Before the server is kept waiting.
        token = self.tokens.token() if self.tokens is not None else None
        session: smtplib.SMTP
        # A name that is replaced below: by itself smtplib asks for the full one of this host, which can take seconds.
        if self.implicit_tls:
            session = smtplib.SMTP_SSL(
                self.host, self.port, "[]", timeout=timeouts.step, context=ssl.create_default_context()
            )
        else:
            session = smtplib.SMTP(self.host, self.port, "[]", timeout=timeouts.step)
        try:
            session.local_hostname = self.ehlo or _own_name(session)
            session.ehlo_or_helo_if_needed()
            if self.starttls:
                # Raises when the server offers no STARTTLS, and for any answer but yes.
                session.starttls(context=ssl.create_default_context())
                session.ehlo_or_helo_if_needed()
            if token is not None:
                self._authenticate(session, token)
            elif self.user is not None:
                session.login(self.user, self.password or "")
        except BaseException:
            session.close()
            raise
        return session

    def _authenticate(self, session: smtplib.SMTP, token: str) -> None:
        """Log in with a token (XOAUTH2); refused, the server says why, and is answered with an empty line."""
        if "XOAUTH2" not in session.esmtp_features.get("auth", "").upper().split():
            raise smtplib.SMTPNotSupportedError("it offers no XOAUTH2, which ANALYTICS_SMTP_OAUTH needs")
        first = f"user={self.user}\1auth=Bearer {token}\1\1"
        session.auth("XOAUTH2", lambda challenge=None: first if challenge is None else "")

    def _address(self, session: smtplib.SMTP, sender: str, recipient: str, size: int) -> None:
        options = [f"size={size}"] if session.has_extn("size") else []
        self._require(session.mail(sender, options), _ACCEPTED, f"the sender {sender}")
        code, answer = session.rcpt(recipient)
        if _kind(code) != _YES:
            self._require((code, answer), _ACCEPTED, f"the recipient {recipient}")

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

    def _describe(self, error: Exception) -> str:
        text = visible_line(str(error)) or type(error).__name__
        if isinstance(error, smtplib.SMTPResponseException):
            text = f"{error.smtp_code} {_text(error.smtp_error)}"
        if self.starttls and isinstance(error, smtplib.SMTPNotSupportedError) and "STARTTLS" in text:
            text += f" A relay without encryption inside a private network is written {_PLAIN}://"
        return self.tokens.without_secrets(text) if self.tokens is not None else text


class MailTransport(Protocol):
    """Takes mails to where they are delivered; ``MailServer.deliver`` says what it raises."""

    def deliver(self, mail: Mail, timeouts: Timeouts, before_last: Callable[[], None] = ...) -> None:
        """Hand one mail over."""
        ...


def mail_transport(url: str, *, oauth: str | None = None, ehlo: str = "") -> MailTransport:
    """Return what ``ANALYTICS_SMTP_URL`` names: a mail server, or for ``file:///folder`` a folder.

    ``oauth`` and ``ehlo`` are as in ``MailServer.parse``. Raises ``AnalyticsError`` for one that can't be used as it is
    given.
    """
    return MailFolder.parse(url) if url.startswith("file:") else MailServer.parse(url, oauth=oauth, ehlo=ehlo)


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


def _own_name(session: smtplib.SMTP) -> str:
    """Return the name by which this host introduces itself: its full one, or else its address in the conversation.

    Servers refuse the bare name of a container.
    """
    name = socket.gethostname()
    if _is_full_name(name) and not name.endswith(".localdomain"):
        return name
    own = session.sock.getsockname()[0] if session.sock is not None else "127.0.0.1"
    address = ipaddress.ip_address(own.partition("%")[0])
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"  # noqa: PLR2004


def _require_credentials(user: str | None, password: str | None, *, has_oauth: bool, is_plain: bool) -> None:
    if is_plain and (user is not None or has_oauth):
        raise _unusable(f"{_PLAIN} takes neither user nor password: on the way to the relay everybody could read them")
    if has_oauth and (user is None or password is not None):
        raise _unusable("with ANALYTICS_SMTP_OAUTH it names the mailbox as its user, and no password")
    if not unquote(f"{user or ''}{password or ''}").isascii():
        raise _unusable("user and password may hold letters, digits and signs of ASCII only")
    if not has_oauth and (user is None) != (password is None):
        raise _unusable("a user needs a password, or ANALYTICS_SMTP_OAUTH, and a password a user")


def _text(answer: bytes | str) -> str:
    return visible_line(answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer)


def _unusable(reason: str) -> AnalyticsError:
    return AnalyticsError(f"ANALYTICS_SMTP_URL can't be used: {reason}. Write it like {_SHAPE}.")
