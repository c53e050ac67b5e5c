"""What channels that post to named web addresses have in common: Slack, Teams and webhooks of one's own."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Self

from analytics_pipeline.messages.channel import Channel, NotDelivered
from analytics_pipeline.messages.http import TIMEOUTS, Answer, Poster, require_name, secret_parts
from analytics_pipeline.messages.message import ClaimedMessage
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import Settings


class NamedWebhooks(Channel):
    """Posts JSON to the web addresses that a setting gives names to, for one round of sending.

    ``receiver`` is what one is called in a sentence. ``is_recognised``: whoever gets a message twice can tell.
    """

    receiver: ClassVar[str]
    is_recognised: ClassVar[bool] = False

    def __init__(self, urls: Mapping[str, str], *, timeouts: Timeouts = TIMEOUTS) -> None:
        """Take web addresses by name; nothing is opened."""
        self._urls = urls
        self._poster = Poster(self.receiver, self.setting, is_recognised=self.is_recognised, timeouts=timeouts)

    @classmethod
    def from_settings(cls, settings: Settings, timeouts: Timeouts | None = None) -> Self | None:
        """Return the way to the addresses of the settings, None without any; see ``Channel``."""
        urls = cls.names(settings)
        return cls(urls, timeouts=timeouts or TIMEOUTS) if urls else None

    @staticmethod
    def require_target(target: str) -> str:
        """Return a name; see ``Channel``."""
        return require_name(target)

    def post(
        self, message: ClaimedMessage, before_last: Callable[[], None], headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Post the message as it is stored and return the answer that took it; raises what ``Channel.send`` does."""
        name = message.target
        if name not in self._urls:
            raise NotDelivered(f"{self.setting} has no {name!r}")
        url, body = self._urls[name], message.text.encode()
        headers = {"Content-Type": "application/json", **(headers or {})}
        return self._poster.post(name, url, body, headers, before_last, secrets=secret_parts(url))
