"""Posts JSON to named addresses: what webhooks, Slack, Teams and PagerDuty have in common."""

import re
import socket
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.channel import DeliveryUnknown, NotDelivered, Refused
from analytics_pipeline.messages.loopback import is_loopback
from analytics_pipeline.messages.message import one_line
from analytics_pipeline.messages.timeouts import Timeouts

# Until each step of the conversation is over, and until all of it is.
TIMEOUTS: Final = Timeouts(step=10, answer=30)

_is_name = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}").fullmatch
_is_entry = re.compile(r"([a-z0-9][a-z0-9_-]{0,62})=([!-~]+)").fullmatch
_SERVER_ERROR = 500
_UNAVAILABLE = 503
# Request timeout, too early, too many requests: the same request may be taken later.
_LATER = {408, 425, 429}
_ANSWER_BYTES = 1000
_SECRET_CHARACTERS = 6
# Longer than names are; keys of PagerDuty have 32 characters.
_MAX_SHOWN_CHARACTERS = 20


def require_name(target: str) -> str:
    """Return a name as it stands in a setting; raises ``ValueError`` for anything else, and does not show a secret."""
    if not _is_name(target):
        raise ValueError(f"{shown_name(target)!r} is no name: small letters, digits, '-' and '_', like ops")
    return target


def shown_name(target: str) -> str:
    """Return a name for an error; of one that may be an address or a key, which are secrets, the beginning."""
    return target if len(target) <= _MAX_SHOWN_CHARACTERS else f"{target[:6]}..."


@dataclass(frozen=True, slots=True)
class NamedSecrets:
    """A setting that gives names to secrets: ``ops=SECRET``, several separated by blanks."""

    setting: str
    example: str

    def parse(self, secret: SecretStr | None) -> dict[str, str]:
        """Return the secrets by name; raises ``AnalyticsError``, which never shows one."""
        found: dict[str, str] = {}
        for entry in secret.get_secret_value().split() if secret else []:
            match = _is_entry(entry)
            if match is None:
                raise self.unusable("an entry is not a name, small letters and digits, with what belongs to it")
            name, value = match.groups()
            if name in found:
                raise self.unusable(f"it names {name} twice")
            found[name] = value
        return found

    def parse_urls(self, secret: SecretStr | None) -> dict[str, str]:
        """Return web addresses by name: https, or http on this machine; raises ``AnalyticsError`` likewise."""
        urls = self.parse(secret)
        for name, url in urls.items():
            if (reason := unsafe_url(url)) is not None:
                raise self.unusable(f"the address of {name} {reason}")
        return urls

    def unusable(self, reason: str) -> AnalyticsError:
        """Return the error that says why the setting can't be used, and how it is written."""
        return AnalyticsError(f"{self.setting} can't be used: {reason}. Write it like {self.example}.")


def unsafe_url(url: str) -> str | None:
    """Return why nothing may be posted to an address, None: it may."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "has a host or a port that can't be read"
    if parts.scheme not in {"https", "http"} or not host:
        return "is no web address"
    if parts.scheme == "http" and not is_loopback(host):
        return "has to be https: only this machine may be spoken to in the clear"
    if parts.username is not None or parts.fragment:
        return "may hold neither a user nor a fragment"
    return None


def secret_parts(url: str) -> list[str]:
    """Return what must not be shown of an address whose path or query is a secret, as written and decoded."""
    parts = urlsplit(url)
    pairs = [pair.partition("=") for pair in re.split("[&;]", parts.query)]
    # What a parameter is called is no secret, unless that is all there is of it.
    pieces = {parts.path, parts.query, *parts.path.split("/"), *(value or name for name, _, value in pairs)}
    return [piece for piece in pieces | {unquote(piece) for piece in pieces} if piece.strip("/")]


def _shown(text: str, secrets: Collection[str]) -> str:
    """Return what a server said as one line, without the secrets: many a server repeats the address it was asked.

    A short secret is taken out where it is a word of its own: parts of other words may be the same by chance.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SECRET_CHARACTERS:
            text = text.replace(secret, "***")
        else:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    return one_line(text)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: the status, and the beginning of its text."""

    status: int
    text: str


@dataclass(slots=True)
class Poster:
    """Posts to named receivers, for one round of sending.

    ``what`` is what a receiver is called in a sentence, ``setting`` where its address stands. ``is_recognised``:
    whoever gets the same message twice can tell, so one that may have arrived is sent again.
    """

    what: str
    setting: str
    is_recognised: bool
    timeouts: Timeouts = TIMEOUTS
    # One that can't be reached isn't waited for again and again in one round.
    _unreachable: dict[str, str] = field(default_factory=dict)

    def post(
        self,
        name: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        before_last: Callable[[], None],
        *,
        secrets: Collection[str],
    ) -> Answer:
        """Post a body of JSON and return the answer that took it; a redirect isn't followed, wherever it leads.

        ``secrets`` is not shown where the server repeats it. ``before_last`` is called before the last byte, unless the
        receiver recognises messages. Raises what ``Channel.send`` does.
        """
        if name in self._unreachable:
            raise NotDelivered(self._unreachable[name])
        state = _Progress()

        def mark() -> None:
            if not self.is_recognised:
                before_last()
            state.is_complete = True

        try:
            status, text = _post(url, body, headers, self.timeouts, mark)
        except (OSError, HTTPException) as error:
            said = _shown(str(error), secrets) or type(error).__name__
            reason = f"{self.what} {name} can't be reached: {said}"
            if state.is_complete and not self.is_recognised:
                raise DeliveryUnknown(
                    f"{self.what} {name} fell silent after the whole message: it may have arrived"
                ) from error
            self._unreachable[name] = reason
            raise NotDelivered(reason) from error
        answer = Answer(status, _shown(text, secrets))
        self._require_taken(name, answer)
        return answer

    def _require_taken(self, name: str, answer: Answer) -> None:
        status = answer.status
        match status // 100:
            case 2:
                return
            case 3:
                raise Refused(
                    f"{self.what} {name} redirects ({status}), which is not followed: put the address it leads to into "
                    f"{self.setting}"
                )
        said = f" ({answer.text})" if answer.text else ""
        if status in _LATER or status == _UNAVAILABLE or (status >= _SERVER_ERROR and self.is_recognised):
            raise NotDelivered(f"{self.what} {name} answered {status}{said}")
        if status >= _SERVER_ERROR:
            raise DeliveryUnknown(f"{self.what} {name} answered {status}{said}: the message may have arrived")
        raise Refused(f"{self.what} {name} refused the message: {status}{said}")


@dataclass(slots=True)
class _Progress:
    is_complete: bool = False


def _post(
    url: str, body: bytes, headers: Mapping[str, str], timeouts: Timeouts, before_last: Callable[[], None]
) -> tuple[int, str]:
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=timeouts.step)
    try:
        connection.connect()
        watch = threading.Timer(timeouts.answer, _hang_up, [connection.sock])
        watch.start()
        try:
            connection.putrequest("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
            for header, value in {
                "Content-Length": str(len(body)),
                "User-Agent": "analytics-pipeline",
                **headers,
            }.items():
                connection.putheader(header, value)
            connection.endheaders()
            connection.send(body[:-1])
            before_last()
            connection.send(body[-1:])
            response = connection.getresponse()
            return response.status, response.read(_ANSWER_BYTES).decode("utf-8", "replace")
        finally:
            watch.cancel()
    finally:
        connection.close()


def _hang_up(connection: socket.socket) -> None:
    """End a conversation from outside. Not by the method of a TLS socket, which another thread must not use."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
