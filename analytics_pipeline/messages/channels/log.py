"""The log as a channel: one line a message, for a machine from which nothing else can be reached."""

import logging
from collections.abc import Callable
from typing import ClassVar, Final, Self

from analytics_pipeline.messages.channel import Channel
from analytics_pipeline.messages.message import Body, ClaimedMessage, Content
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import Settings
from analytics_pipeline.text import printable_message

_log = logging.getLogger("analytics_pipeline.messages")

_LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class LogChannel(Channel):
    """Writes messages to the log of the process that sends, at the level that is the target: ``log:warning``."""

    name = "log"
    default_target: ClassVar[str] = "warning"

    @classmethod
    def from_settings(cls, settings: Settings, timeouts: Timeouts | None = None) -> Self:  # noqa: ARG003  # there is always a log
        """Return the log; see ``Channel``."""
        return cls()

    @staticmethod
    def require_target(target: str) -> str:
        """Return a level; see ``Channel``."""
        if target not in _LEVELS:
            raise ValueError(f"the log has no level {target[:80]!r}: choose one of {', '.join(_LEVELS)}")
        return target

    @staticmethod
    def render(content: Content) -> Body:
        """Return the text; see ``Channel``."""
        return Body(content.text)

    def send(self, message: ClaimedMessage, before_last: Callable[[], None]) -> None:
        """Write one line; it goes wherever the process's log goes, standard error by default."""
        before_last()
        line = printable_message(f"{message.subject}: {' '.join(message.text.split())}")
        _log.log(_LEVELS.get(message.target, logging.WARNING), "%s", line)
