"""Mail as a channel of the outbox: one message, one recipient, one mail with its document.

Belongs here: the mail made from a row. Does not belong here: its wording (``reports.mail``), SMTP
(``notify.mail``).
"""

import mimetypes
from email.message import EmailMessage

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.mail_addresses import require_address
from analytics_pipeline.notify.mail import MailTransport, new_mail
from analytics_pipeline.notify.notifier import NotDelivered, Refused
from analytics_pipeline.notify.patience import Patience
from analytics_pipeline.outbox.message import Attachment, ClaimedMessage
from analytics_pipeline.outbox.sending import Transmitting
from analytics_pipeline.reports.artifacts import ArtifactGoneError, read_artifact

# Servers look into attachments before they answer.
PATIENCE = Patience(step=30, answer=60)


class MailChannel:
    """Sends messages as mails."""

    def __init__(
        self, transport: MailTransport, *, sender: str, artifacts_root: str, patience: Patience = PATIENCE
    ) -> None:
        """Take the way out, the sender's address and the store of documents; nothing is opened."""
        self._transport = transport
        self._sender = require_address(sender)
        self._artifacts_root = artifacts_root
        self._patience = patience

    def send(self, message: ClaimedMessage, before_last: Transmitting) -> None:
        """Send one mail; see ``Channel``."""
        mail = self._compose(message)
        self._transport.deliver(mail, self._sender, [message.target], self._patience, before_last)

    def _compose(self, message: ClaimedMessage) -> EmailMessage:
        try:
            mail = new_mail(
                sender=self._sender,
                recipients=[require_address(message.target)],
                subject=message.subject,
                message_id=message.message_id,
            )
        except ValueError as error:
            raise Refused(f"no mail can be made of it: {error}") from error
        # Lines as they are would break a server's limit, and 8-bit characters need one that takes them.
        mail.set_content(message.text, cte="quoted-printable")
        if message.html is not None:
            mail.add_alternative(message.html, subtype="html", cte="quoted-printable")
        if message.attachment is not None:
            self._attach(mail, message.attachment)
        return mail

    def _attach(self, mail: EmailMessage, attachment: Attachment) -> None:
        """Attach the document, whose checksum has to be that of the row."""
        try:
            content = read_artifact(self._artifacts_root, attachment.name, attachment.sha256)
        except ArtifactGoneError as error:
            raise Refused(str(error)) from error
        except AnalyticsError as error:
            raise NotDelivered(str(error)) from error
        kind, _ = mimetypes.guess_type(attachment.file)
        maintype, _, subtype = (kind or "application/octet-stream").partition("/")
        mail.add_attachment(content, maintype=maintype, subtype=subtype, filename=attachment.file)
