"""Webhooks as a channel: one POST of JSON per message, signed.

Belongs here: signing, and the JSON of messages that bring none. Does not belong here: what is in the JSON of alerts
(``alerts.messages``), the request (``http``).

Requests have the form of Standard Webhooks (https://www.standardwebhooks.com): ``webhook-id`` is the same on every
attempt at a message, so whoever receives one twice can tell. That is why one that may have arrived is sent again,
and why nothing is marked before the last byte, as it is for mail.
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Self

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.channel import Channel, NotDelivered
from analytics_pipeline.messages.http import TIMEOUTS, NamedSecrets, Poster, require_name, secret_parts
from analytics_pipeline.messages.message import Body, ClaimedMessage, Content, storable
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import Settings

_SECRET = "whsec_"  # noqa: S105  # how every secret begins
_SECRET_BYTES = range(24, 65)
_ADDRESSES = NamedSecrets("ANALYTICS_WEBHOOKS", "'ops=https://hooks.example.com/alerts', several separated by blanks")


class WebhookChannel(Channel):
    """Posts messages to named addresses, for one round of sending: ``webhook:ops``."""

    name = "webhook"
    setting = _ADDRESSES.setting

    def __init__(
        self, addresses: Mapping[str, str], key: bytes | None = None, *, timeouts: Timeouts = TIMEOUTS
    ) -> None:
        """Take addresses by name and the key that signs, None: nothing is signed; nothing is opened."""
        self._addresses = addresses
        self._key = key
        self._poster = Poster("the webhook", self.setting, is_recognised=True, timeouts=timeouts)

    @classmethod
    def names(cls, settings: Settings) -> dict[str, str]:
        """Return the addresses of ANALYTICS_WEBHOOKS by name; see ``Channel``."""
        return _ADDRESSES.parse_urls(settings.webhooks)

    @classmethod
    def from_settings(cls, settings: Settings, timeouts: Timeouts | None = None) -> Self | None:
        """Return the way to the webhooks of the settings, None without any; see ``Channel``."""
        addresses = cls.names(settings)
        secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
        return cls(addresses, _key(secret) if secret else None, timeouts=timeouts or TIMEOUTS) if addresses else None

    @staticmethod
    def require_target(target: str) -> str:
        """Return a name; see ``Channel``."""
        return require_name(target)

    @staticmethod
    def render(content: Content) -> Body:
        """Return the JSON that the content brings, or one of its subject and text; see ``Channel``."""
        plain = {
            "type": "message",
            "text": content.subject,
            "data": {"text": content.text, "link": content.link or None},
        }
        return Body(content.payload or storable(json.dumps(plain)))

    def send(self, message: ClaimedMessage, before_last: Callable[[], None]) -> None:
        """Post one message; see ``Channel``."""
        name = message.target
        if name not in self._addresses:
            raise NotDelivered(f"{self.setting} has no {name!r}")
        body = message.text.encode()
        url = self._addresses[name]
        self._poster.post(name, url, body, self._headers(message, body), before_last, secrets=secret_parts(url))

    def _headers(self, message: ClaimedMessage, body: bytes) -> dict[str, str]:
        identity = hashlib.sha256(message.message_id.encode()).hexdigest()[:32]
        now = str(int(time.time()))
        headers = {"Content-Type": "application/json", "webhook-id": identity, "webhook-timestamp": now}
        if self._key is not None:
            signed = hmac.digest(self._key, f"{identity}.{now}.".encode() + body, "sha256")
            headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
        return headers


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
