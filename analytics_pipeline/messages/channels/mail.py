"""Mail as a channel of the outbox: one message, one recipient, one mail with its document.

Belongs here: the mail made from a row. Does not belong here: its wording (``reports.mail``), its bytes and SMTP
(``mime``, ``smtp``).
"""

from pathlib import PurePosixPath
from urllib.parse import quote

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.mail_addresses import Mailbox, require_address
from analytics_pipeline.messages.message import Attachment, ClaimedMessage
from analytics_pipeline.messages.mime import Mail, MailFile
from analytics_pipeline.messages.notifier import NotDelivered, Refused
from analytics_pipeline.messages.sending import Transmitting
from analytics_pipeline.messages.smtp import MailTransport
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.store import ArtifactGoneError, read_artifact

# Servers look into attachments before they answer.
TIMEOUTS = Timeouts(step=30, answer=60)
# Not asked of the machine: one without a table of its own knows no workbooks.
_MEDIA_TYPES = {
    ".pdf": "application/pdf",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class MailChannel:
    """Sends messages as mails."""

    def __init__(
        self,
        transport: MailTransport,
        *,
        sender: Mailbox,
        artifacts_root: str,
        reply_to: Mailbox | None = None,
        answers_to: str | None = None,
        timeouts: Timeouts = TIMEOUTS,
    ) -> None:
        """Take the way out, whom mails are from and answers go to, and the store of documents; nothing is opened.

        ``answers_to`` is the address of somebody who can end a subscription to reports, None: nobody is known.
        """
        self._transport = transport
        self._sender = sender
        self._reply_to = reply_to
        self._answers_to = answers_to
        self._artifacts_root = artifacts_root
        self._timeouts = timeouts

    def send(self, message: ClaimedMessage, before_last: Transmitting) -> None:
        """Send one mail; see ``Channel``."""
        self._transport.deliver(self._compose(message), self._timeouts, before_last)

    def _compose(self, message: ClaimedMessage) -> Mail:
        try:
            recipient = require_address(message.target)
        except ValueError as error:
            raise Refused(f"no mail can be sent there: {error}") from error
        return Mail(
            sender=self._sender,
            reply_to=self._reply_to,
            recipients=[recipient],
            subject=message.subject,
            message_id=message.message_id,
            text=message.text,
            html=message.html,
            file=self._file(message.attachment) if message.attachment is not None else None,
            headers=self._unsubscribe(message) if message.kind == "report" else {},
        )

    def _unsubscribe(self, message: ClaimedMessage) -> dict[str, str]:
        """Return the header by which mail programs offer to end a subscription: a mail to a person who can."""
        if self._answers_to is None:
            return {}
        subject = quote(f"Unsubscribe {message.target} from reports", safe="")
        return {"List-Unsubscribe": f"<mailto:{quote(self._answers_to, safe='@')}?subject={subject}>"}

    def _file(self, attachment: Attachment) -> MailFile:
        """Return the document, whose checksum has to be that of the row."""
        try:
            content = read_artifact(self._artifacts_root, attachment.name, attachment.sha256)
        except ArtifactGoneError as error:
            raise Refused(str(error)) from error
        except AnalyticsError as error:
            raise NotDelivered(str(error)) from error
        suffix = PurePosixPath(attachment.file).suffix
        return MailFile(attachment.file, _MEDIA_TYPES.get(suffix, "application/octet-stream"), content)
