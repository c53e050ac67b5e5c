"""What a channel of notifications is, and the simplest one: the log.

Belongs here: the contract between what is told and how. Does not belong here: a channel that needs a server.
"""

import logging
from dataclasses import dataclass
from typing import Protocol

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.text import printable_line

_log = logging.getLogger("analytics_pipeline.notify")


@dataclass(frozen=True, slots=True)
class Message:
    """One message: a line of subject, the text, and an id that stays the same when it is sent again."""

    subject: str
    text: str
    id: str


class NotDelivered(AnalyticsError):  # noqa: N818 - what happened to a message, not a defect
    """The channel has certainly not taken the message: sending it again is safe."""


class Refused(NotDelivered):
    """The other side will not take this message, now or later: sending it again is of no use."""


class ChannelDown(NotDelivered):
    """The channel can't be used at all now: another message would fare like this one."""


class DeliveryUnknown(AnalyticsError):  # noqa: N818
    """The channel may have taken the message: sending it again may tell people twice."""


class Notifier(Protocol):
    """A channel to the operators."""

    @property
    def name(self) -> str:
        """What the channel is, for people; no secret in it."""
        ...

    def send(self, message: Message) -> str | None:
        """Hand the message over; return when the channel has taken it, with who of several was not reached, and why.

        Raises ``NotDelivered`` when it certainly has not, ``DeliveryUnknown`` when nobody can know.
        """
        ...


class LogNotifier:
    """Tells the log, one line a message: for a machine without a mail server."""

    name = "the log"

    def send(self, message: Message) -> None:
        """Write one line; it goes wherever the process's log goes, standard error by default."""
        _log.warning("%s", printable_line(f"{message.subject}: {' '.join(message.text.split())}"))
