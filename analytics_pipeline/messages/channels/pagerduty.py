"""PagerDuty as a channel: the events API v2, by which incidents are triggered and resolved.

It knows an incident by ``dedup_key``: an event that may have arrived is sent again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.languages.wording import message
from analytics_pipeline.messages.channel import Channel, NotDelivered, Refused
from analytics_pipeline.messages.http import TIMEOUTS, NamedSecrets, Poster, require_name, unsafe_url
from analytics_pipeline.messages.message import Body, ClaimedMessage, Content, shortened, storable
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import Settings

_KEYS = NamedSecrets("ANALYTICS_PAGERDUTY", "'ops=KEY', the integration key of a service, several separated by blanks")
_ACTIONS: Final = ("trigger", "resolve")
_SEVERITIES: Final = ("critical", "error", "warning", "info")
_SUMMARY: Final = message("summary")
# What PagerDuty takes at most.
_SUMMARY_CHARACTERS = 1024
_KEY_CHARACTERS = 255
_MAX_BYTES = 512_000


class PagerDutyChannel(Channel):
    """Triggers and resolves incidents by the keys of services, by their names: ``pagerduty:ops``."""

    name = "pagerduty"
    setting = _KEYS.setting
    one_event_each = True

    def __init__(self, keys: Mapping[str, str], url: str, *, timeouts: Timeouts = TIMEOUTS) -> None:
        """Take the keys of services by name and the address of the API; nothing is opened."""
        self._keys = keys
        self._url = url
        self._poster = Poster("PagerDuty's service", "ANALYTICS_PAGERDUTY_URL", is_recognised=True, timeouts=timeouts)

    @classmethod
    def names(cls, settings: Settings) -> dict[str, str]:
        """Return the keys of ANALYTICS_PAGERDUTY by name; see ``Channel``."""
        return _KEYS.parse(settings.pagerduty)

    @classmethod
    def from_settings(cls, settings: Settings, timeouts: Timeouts | None = None) -> Self | None:
        """Return the way to the services of the settings, None without any; see ``Channel``."""
        keys = cls.names(settings)
        if (reason := unsafe_url(settings.pagerduty_url)) is not None:
            raise AnalyticsError(f"ANALYTICS_PAGERDUTY_URL {reason}: see docs/notifications.md.")
        return cls(keys, settings.pagerduty_url, timeouts=timeouts or TIMEOUTS) if keys else None

    @staticmethod
    def require_target(target: str) -> str:
        """Return a name; see ``Channel``."""
        return require_name(target)

    @staticmethod
    def render(content: Content) -> Body:
        """Return the event without the key of the service, which is a secret; see ``Channel``."""
        event = content.event
        if event is None:
            raise ValueError("PagerDuty takes nothing but what begins and ends")
        event_body: dict[str, object] = {
            "event_action": "resolve" if event.is_over else "trigger",
            "dedup_key": _dedup_key(event.key),
        }
        if not event.is_over:
            event_body["payload"] = {
                "summary": shortened(content.subject, _SUMMARY_CHARACTERS),
                "source": event.source,
                "severity": event.severity,
                "timestamp": event.at.isoformat(),
                "custom_details": {content.language.say(_SUMMARY): content.summary, **dict(content.facts)},
            }
            if content.web_link:
                event_body["links"] = [{"href": content.link, "text": content.opens}]
        return Body(storable(json.dumps(event_body)))

    def send(self, message: ClaimedMessage, before_last: Callable[[], None]) -> None:
        """Send one event; see ``Channel``."""
        name = message.target
        if name not in self._keys:
            raise NotDelivered(f"{self.setting} has no {name!r}")
        key = self._keys[name]
        body = json.dumps({"routing_key": key, **_event(message.text)}).encode()
        self._poster.post(name, self._url, body, {"Content-Type": "application/json"}, before_last, secrets=[key])


def _dedup_key(key: str) -> str:
    """Return a key that PagerDuty takes; a longer one is its beginning and a hash of all of it."""
    digest = hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()[:32]
    return key if len(key) <= _KEY_CHARACTERS else f"{key[: _KEY_CHARACTERS - len(digest) - 1]}~{digest}"


def _event(text: str) -> dict[str, Any]:
    """Return the event of a row; raises ``Refused`` for what PagerDuty would not take."""
    try:
        event: dict[str, Any] = json.loads(text)
        is_event = event["event_action"] in _ACTIONS and bool(event["dedup_key"])
        if event["event_action"] == "trigger":
            payload = event["payload"]
            is_event = (
                is_event and bool(payload["summary"] and payload["source"]) and payload["severity"] in _SEVERITIES
            )
    except (ValueError, KeyError, TypeError):
        is_event = False
    if not is_event or len(text.encode()) > _MAX_BYTES:
        raise Refused(
            "it is no event for PagerDuty: JSON with event_action, dedup_key, and summary, source and severity"
        )
    return event
