"""What comes back: mails that a server had taken, and another could not deliver."""

import email
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.policy import compat32

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.message import one_line, storable
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection

_REASON_CHARACTERS = 300
_MESSAGE_ID = re.compile(r"<[^<>\s]+>")


@dataclass(frozen=True, slots=True)
class Bounce:
    """A message of the outbox that came back, and why."""

    outbox_id: int
    target: str
    problem: str


def record_bounce(connection: Connection, content: bytes) -> Bounce:
    """Mark the message that a bounce is about as failed and return it; the same bounce again changes nothing.

    Raises ``AnalyticsError`` for what is no bounce of a message that could not be delivered, and for one of a mail that
    is not, or no longer, counted as sent.
    """
    try:
        # The older policy reads whatever it is given, and raises nothing but when parts lie in parts without end.
        mail = email.message_from_bytes(content, policy=compat32)
        reason = _reason(mail)
    except RecursionError:
        reason = None
    if reason is None:
        raise AnalyticsError(
            "This is no bounce: no part message/delivery-status of it says that a mail has failed. A warning that one "
            "is delayed is none."
        )
    ids = list(dict.fromkeys(_message_ids(mail)))
    parameters = {"message_ids": ids, "problem": storable(f"bounced: {reason}")}
    row = connection.execute(load_query("outbox_bounced"), parameters).fetchone()
    if row is None:
        raise AnalyticsError(
            f"No mail of the outbox that was sent has the id {one_line(ids[0]) if ids else '(the bounce names none)'}: "
            "see 'analytics-pipeline outbox list'."
        )
    return Bounce(*row)


def _reason(mail: Message) -> str | None:
    """Return why a mail could not be delivered, None when that is not said."""
    for part in mail.walk():
        if part.get_content_type() != "message/delivery-status":
            continue
        # Each recipient is a block of fields, which the parser takes for a message.
        for fields in part.get_payload() if part.is_multipart() else ():
            if isinstance(fields, Message) and str(fields.get("Action", "")).strip().lower() == "failed":
                said = str(fields.get("Diagnostic-Code", "")).partition(";")[2]
                status = str(fields.get("Status", ""))
                return one_line(said or f"status {status}", _REASON_CHARACTERS)
    return None


def _message_ids(mail: Message) -> Iterator[str]:
    """Yield ids of the mail that came back: of its copy in the bounce, or of what the bounce answers."""
    for part in mail.walk():
        if part is not mail:
            yield from _MESSAGE_ID.findall(str(part.get("Message-ID", "")))
        if part.get_content_type() == "text/rfc822-headers":
            text = part.get_payload(decode=True)
            headers = email.message_from_bytes(text if isinstance(text, bytes) else b"", policy=compat32)
            yield from _MESSAGE_ID.findall(str(headers.get("Message-ID", "")))
    for header in ("In-Reply-To", "References"):
        yield from _MESSAGE_ID.findall(str(mail.get(header, "")))
