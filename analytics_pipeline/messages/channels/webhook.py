"""Webhooks as a channel of the outbox: one POST of JSON per message.

Belongs here: addresses, signing, the request, what an answer means. Does not belong here: what is in the JSON
(``alerts.messages``).

Requests have the form of Standard Webhooks (https://www.standardwebhooks.com): ``webhook-id`` is the same on every
attempt at a message, so whoever receives one twice can tell. That is why one that may have arrived is sent again,
and why nothing is marked before the last byte, as it is for mail.
"""

import base64
import binascii
import hashlib
import hmac
import re
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.loopback import is_loopback
from analytics_pipeline.messages.message import ClaimedMessage
from analytics_pipeline.messages.notifier import NotDelivered, Refused
from analytics_pipeline.messages.sending import Transmitting
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import Settings

# Until each step of the conversation is over, and until all of it is.
TIMEOUTS: Final = Timeouts(step=10, answer=30)

_is_entry = re.compile(r"([a-z0-9][a-z0-9_-]{0,62})=([!-~]+)").fullmatch
_SHAPE = "'ops=https://hooks.example.com/alerts', several separated by blanks"
_SECRET = "whsec_"  # noqa: S105  # how every secret begins
_SECRET_BYTES = range(24, 65)
_SERVER_ERROR = 500
# Request timeout, too early, too many requests: the same request may be taken later.
_LATER = {408, 425, 429}


def webhook_addresses(settings: Settings) -> dict[str, str]:
    """Return the addresses of ``ANALYTICS_WEBHOOKS`` by name.

    Raises ``AnalyticsError``, which never shows an address: it may be a secret.
    """
    addresses: dict[str, str] = {}
    for entry in settings.webhooks.get_secret_value().split() if settings.webhooks else []:
        match = _is_entry(entry)
        if match is None:
            raise _unusable("an entry is not a name, small letters and digits, with its address")
        name, url = match.groups()
        if name in addresses:
            raise _unusable(f"it names {name} twice")
        _require_safe(name, url)
        addresses[name] = url
    return addresses


def webhook_channel(settings: Settings) -> "WebhookChannel | None":
    """Return the channel to the webhooks of the settings, None without any; raises ``AnalyticsError`` likewise."""
    addresses = webhook_addresses(settings)
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
    return WebhookChannel(addresses, _key(secret) if secret else None) if addresses else None


class WebhookChannel:
    """Posts messages to named addresses, for one round of sending."""

    def __init__(
        self, addresses: Mapping[str, str], key: bytes | None = None, *, timeouts: Timeouts = TIMEOUTS
    ) -> None:
        """Take addresses by name and the key that signs, None: nothing is signed; nothing is opened."""
        self._addresses = addresses
        self._key = key
        self._timeouts = timeouts
        # One that can't be reached isn't waited for again and again in one round.
        self._unreachable: dict[str, str] = {}

    def send(self, message: ClaimedMessage, before_last: Transmitting) -> None:  # noqa: ARG002  # module's docstring
        """Post one message; see ``Channel``. A redirect isn't followed, wherever it leads."""
        name = message.target
        if name not in self._addresses:
            raise NotDelivered(f"ANALYTICS_WEBHOOKS has no {name!r}")
        if name in self._unreachable:
            raise NotDelivered(self._unreachable[name])
        try:
            status = self._post(self._addresses[name], message)
        except (OSError, HTTPException) as error:
            self._unreachable[name] = f"the webhook {name} can't be reached: {error or type(error).__name__}"
            raise NotDelivered(self._unreachable[name]) from error
        self._judge(name, status)

    def _post(self, url: str, message: ClaimedMessage) -> int:
        parts = urlsplit(url)
        connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = connect(parts.hostname or "", parts.port, timeout=self._timeouts.step)
        body = message.text.encode()
        try:
            connection.connect()
            watch = threading.Timer(self._timeouts.answer, _hang_up, [connection.sock])
            watch.start()
            try:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("POST", path, body, self._headers(message, body))
                return connection.getresponse().status
            finally:
                watch.cancel()
        finally:
            connection.close()

    def _headers(self, message: ClaimedMessage, body: bytes) -> dict[str, str]:
        identity = hashlib.sha256(message.message_id.encode()).hexdigest()[:32]
        now = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "analytics-pipeline",
            "webhook-id": identity,
            "webhook-timestamp": now,
        }
        if self._key is not None:
            signed = hmac.digest(self._key, f"{identity}.{now}.".encode() + body, "sha256")
            headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
        return headers

    @staticmethod
    def _judge(name: str, status: int) -> None:
        match status // 100:
            case 2:
                return
            case 3:
                raise Refused(
                    f"the webhook {name} redirects ({status}), which is not followed: put the address it leads to "
                    "into ANALYTICS_WEBHOOKS"
                )
        if status in _LATER or status >= _SERVER_ERROR:
            raise NotDelivered(f"the webhook {name} answered {status}")
        raise Refused(f"the webhook {name} refused the message: {status}")


def _hang_up(connection: socket.socket) -> None:
    """End a conversation from outside. Not by the method of a TLS socket, which another thread must not use."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _require_safe(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise _unusable(f"host or port of {name} can't be read") from error
    if parts.scheme not in {"https", "http"} or not host:
        raise _unusable(f"{name} is no web address")
    if parts.scheme == "http" and not is_loopback(host):
        raise _unusable(f"{name} has to be https: only this machine may be spoken to in the clear")
    if parts.username is not None or parts.fragment:
        raise _unusable(f"the address of {name} may hold neither a user nor a fragment")


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(_SECRET) or len(key) not in _SECRET_BYTES:
        raise AnalyticsError(
            "ANALYTICS_WEBHOOK_SECRET has to be 'whsec_' and the base64 of 24 to 64 random bytes: make one with "
            "echo whsec_$(openssl rand -base64 32)."
        )
    return key


def _unusable(reason: str) -> AnalyticsError:
    return AnalyticsError(f"ANALYTICS_WEBHOOKS can't be used: {reason}. Write it like {_SHAPE}.")
