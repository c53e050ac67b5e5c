"""Mail as a channel: one message, one recipient, one mail with its document."""

from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import Self
from urllib.parse import quote

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.languages.catalogues import ENGLISH, Language, language_of
from analytics_pipeline.mail_addresses import Mailbox, require_address
from analytics_pipeline.messages.channel import Channel, NotDelivered, Refused
from analytics_pipeline.messages.message import Attachment, Body, ClaimedMessage, Content
from analytics_pipeline.messages.mime import Mail, MailFile
from analytics_pipeline.messages.smtp import MailTransport, mail_transport
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.messages.unsubscribing import ONE_CLICK, unsubscribe_address, unsubscribe_subject
from analytics_pipeline.settings import Settings
from analytics_pipeline.store import ArtifactGoneError, read_artifact

# Servers look into attachments before they answer.
TIMEOUTS = Timeouts(step=30, answer=60)
# Not asked of the machine: one without a table of its own knows no workbooks.
_MEDIA_TYPES = {
    ".pdf": "application/pdf",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class MailChannel(Channel):
    """Sends messages as mails: ``mail:finance@example.com``."""

    name = "mail"
    setting = "ANALYTICS_SMTP_URL"
    takes_files = True

    def __init__(
        self,
        transport: MailTransport,
        *,
        sender: Mailbox,
        artifacts_root: str,
        reply_to: Mailbox | None = None,
        answers_to: str | None = None,
        one_click: Callable[[str], str | None] = lambda _: None,
        language: Language = ENGLISH,
        timeouts: Timeouts = TIMEOUTS,
    ) -> None:
        """Take the way out, whom mails are from and answers go to, and the store of documents; nothing is opened.

        ``answers_to`` is the address of somebody who can end a subscription to reports, None: nobody is known.
        ``one_click`` gives the web address that ends the one of a key, None: there is none. ``language`` is that of
        those who read the answers.
        """
        self._transport = transport
        self._sender = sender
        self._reply_to = reply_to
        self._answers_to = answers_to
        self._one_click = one_click
        self._language = language
        self._artifacts_root = artifacts_root
        self._timeouts = timeouts

    @classmethod
    def from_settings(cls, settings: Settings, timeouts: Timeouts | None = None) -> Self | None:
        """Return the way to the mail server of ANALYTICS_SMTP_URL, None without one; see ``Channel``."""
        if settings.smtp_url is None:
            return None
        oauth = settings.smtp_oauth.get_secret_value() if settings.smtp_oauth is not None else None
        return cls(
            mail_transport(settings.smtp_url.get_secret_value(), oauth=oauth, ehlo=settings.mail_ehlo),
            sender=settings.mail_sender,
            reply_to=settings.mail_reply,
            answers_to=settings.answers_to,
            one_click=partial(unsubscribe_address, settings),
            language=language_of(settings.locale),
            artifacts_root=settings.artifacts_root,
            timeouts=timeouts or TIMEOUTS,
        )

    @staticmethod
    def require_target(target: str) -> str:
        """Return a mail address; see ``Channel``."""
        return require_address(target)

    @staticmethod
    def render(content: Content) -> Body:
        """Return text and HTML; see ``Channel``."""
        return Body(content.text, content.html or None)

    def send(self, message: ClaimedMessage, before_last: Callable[[], None]) -> None:
        """Send one mail; see ``Channel``."""
        try:
            recipient = require_address(message.target)
        except ValueError as error:
            raise Refused(f"no mail can be sent there: {error}") from error
        self._transport.deliver(self._compose(message, recipient), self._timeouts, before_last)

    def _compose(self, message: ClaimedMessage, recipient: str) -> Mail:
        return Mail(
            sender=self._sender,
            reply_to=self._reply_to,
            recipient=recipient,
            subject=message.subject,
            message_id=message.message_id,
            text=message.text,
            html=message.html,
            file=attached_file(self._artifacts_root, message.attachment),
            headers=self._unsubscribe(message) if message.kind == "report" else {},
        )

    def _unsubscribe(self, message: ClaimedMessage) -> dict[str, str]:
        """Return the headers by which mail programs offer to end a subscription: one click, a mail to a person."""
        click = self._one_click(message.unsubscribe_key) if message.unsubscribe_key else None
        ways = [f"<{click}>"] if click else []
        if self._answers_to is not None:
            subject = quote(self._language.say(unsubscribe_subject(message.target)), safe="")
            ways.append(f"<mailto:{quote(self._answers_to, safe='@')}?subject={subject}>")
        headers = {"List-Unsubscribe": ", ".join(ways)} if ways else {}
        return headers | ONE_CLICK if click else headers


def attached_file(artifacts_root: str, attachment: Attachment | None) -> MailFile | None:
    """Return the document that goes with a message, whose checksum has to be that of the row.

    Raises ``Refused`` where it is gone, and ``NotDelivered`` while the store can't be read.
    """
    if attachment is None:
        return None
    try:
        content = read_artifact(artifacts_root, attachment.name, attachment.sha256)
    except ArtifactGoneError as error:
        raise Refused(str(error)) from error
    except AnalyticsError as error:
        raise NotDelivered(str(error)) from error
    suffix = PurePosixPath(attachment.file).suffix
    return MailFile(attachment.file, _MEDIA_TYPES.get(suffix, "application/octet-stream"), content)
