"""A folder of this machine as a channel: every message becomes a file, once, in the form of a mail."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

from analytics_pipeline.mail_addresses import Mailbox
from analytics_pipeline.messages.channel import Channel
from analytics_pipeline.messages.channels.mail import attached_file
from analytics_pipeline.messages.mail_folder import MailFolder
from analytics_pipeline.messages.message import Body, ClaimedMessage, Content
from analytics_pipeline.messages.mime import Mail
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import Settings


class FolderChannel(Channel):
    """Writes messages as ``<Message-ID>.eml`` into the folder that is the target: ``folder:/var/spool/analytics``."""

    name = "folder"
    takes_files = True

    def __init__(self, *, sender: Mailbox, artifacts_root: str) -> None:
        """Take whom messages are from, and the store of documents."""
        self._sender = sender
        self._artifacts_root = artifacts_root

    @classmethod
    def from_settings(cls, settings: Settings, timeouts: Timeouts | None = None) -> Self:  # noqa: ARG003  # nothing answers
        """Return the way to any folder; see ``Channel``."""
        return cls(sender=settings.mail_sender, artifacts_root=settings.artifacts_root)

    @staticmethod
    def require_target(target: str) -> str:
        """Return the path of a folder; see ``Channel``."""
        if not Path(target).is_absolute() or not target.isprintable():
            raise ValueError(f"{target[:200]!r} is no folder: write its whole path, like folder:/var/spool/analytics")
        return target

    @staticmethod
    def render(content: Content) -> Body:
        """Return text and HTML; see ``Channel``."""
        return Body(content.text, content.html or None)

    def send(self, message: ClaimedMessage, before_last: Callable[[], None]) -> None:
        """Write one message whole, readable by its owner alone; see ``Channel``."""
        mail = Mail(
            sender=self._sender,
            recipient="",
            subject=message.subject,
            message_id=message.message_id,
            text=message.text,
            html=message.html,
            file=attached_file(self._artifacts_root, message.attachment),
        )
        MailFolder(Path(message.target)).write(mail, before_last)
