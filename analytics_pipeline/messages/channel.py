"""What a channel is: the contract between the outbox and one kind of target."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol, Self

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.message import Body, ClaimedMessage, Content
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import Settings


class NotDelivered(AnalyticsError):  # noqa: N818 - what happened to a message, not a defect
    """The channel has certainly not taken the message: sending it again is safe."""


class Refused(NotDelivered):
    """The other side will not take this message, now or later: sending it again is of no use."""


class ChannelDown(NotDelivered):
    """The channel can't be used at all now: another message would fare like this one."""


class DeliveryUnknown(AnalyticsError):  # noqa: N818
    """The channel may have taken the message: sending it again may notify people twice."""


class Channel(Protocol):
    """A kind of target: what its messages look like, and how one is delivered. One class each, in ``channels``.

    ``name`` is what stands before the colon of an address. ``setting`` is what has to be set for it, empty: nothing.
    ``one_event_each``: it takes the beginning or the end of one thing per message, and nothing else. ``takes_files``: a
    document can go with a message.
    """

    name: ClassVar[str]
    setting: ClassVar[str] = ""
    one_event_each: ClassVar[bool] = False
    takes_files: ClassVar[bool] = False

    @classmethod
    def names(cls, settings: Settings) -> Mapping[str, str] | None:  # noqa: ARG003  # some channels have none
        """Return what the settings give names to, by name, None: a target is no such name.

        Raises ``AnalyticsError`` for a setting that can't be used, without showing it: it may be a secret.
        """
        return None

    @classmethod
    def from_settings(cls, settings: Settings, timeouts: Timeouts | None = None) -> Self | None:
        """Return the channel that the settings describe, None where they describe none; nothing is opened.

        ``timeouts`` None: its own. Raises ``AnalyticsError`` for settings that can't be used.
        """
        ...

    @staticmethod
    def require_target(target: str) -> str:
        """Return what follows the colon of an address, in its usual form; raises ``ValueError`` for any other."""
        ...

    @staticmethod
    def render(content: Content) -> Body:
        """Return the content in the form of this channel: what is stored in the outbox, and sent."""
        ...

    def send(self, message: ClaimedMessage, before_last: Callable[[], None]) -> None:
        """Deliver one message; call ``before_last`` at the last moment at which it is certainly not delivered.

        A channel whose receivers recognise a message that they got before need not call it. Raises ``Refused`` when
        the message never will be delivered, ``ChannelDown`` when nothing can be now, another ``NotDelivered`` when this
        one can't be now, ``DeliveryUnknown`` when nobody can know.
        """
        ...
