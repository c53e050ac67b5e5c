"""Webhooks as a channel: one POST of JSON per message, signed.

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
from analytics_pipeline.messages.http import TIMEOUTS, NamedSecrets
from analytics_pipeline.messages.message import Body, ClaimedMessage, Content, storable
from analytics_pipeline.messages.named_webhooks import NamedWebhooks
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import Settings

_SECRET = "whsec_"  # noqa: S105  # how every secret begins
_SECRET_BYTES = range(24, 65)
_WEBHOOKS = NamedSecrets("ANALYTICS_WEBHOOKS", "'ops=https://hooks.example.com/alerts', several separated by blanks")


class WebhookChannel(NamedWebhooks):
    """Posts messages to named addresses, for one round of sending: ``webhook:ops``."""

    name = "webhook"
    setting = _WEBHOOKS.setting
    receiver = "the webhook"
    is_recognised = True

    def __init__(self, urls: Mapping[str, str], key: bytes | None = None, *, timeouts: Timeouts = TIMEOUTS) -> None:
        """Take web addresses by name and the key that signs, None: nothing is signed; nothing is opened."""
        super().__init__(urls, timeouts=timeouts)
        self._key = key

    @classmethod
    def names(cls, settings: Settings) -> dict[str, str]:
        """Return the addresses of ANALYTICS_WEBHOOKS by name; see ``Channel``."""
        return _WEBHOOKS.parse_urls(settings.webhooks)

    @classmethod
    def from_settings(cls, settings: Settings, timeouts: Timeouts | None = None) -> Self | None:
        """Return the way to the webhooks of the settings, None without any; see ``Channel``."""
        urls = cls.names(settings)
        secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
        return cls(urls, _key(secret) if secret else None, timeouts=timeouts or TIMEOUTS) if urls else None

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
        self.post(message, before_last, self._headers(message))

    def _headers(self, message: ClaimedMessage) -> dict[str, str]:
        identity = hashlib.sha256(message.message_id.encode()).hexdigest()[:32]
        now = str(int(time.time()))
        headers = {"webhook-id": identity, "webhook-timestamp": now}
        if self._key is not None:
            signed = hmac.digest(self._key, f"{identity}.{now}.".encode() + message.text.encode(), "sha256")
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
