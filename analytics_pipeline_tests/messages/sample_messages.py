"""Messages as tests put them into the outbox, or hand them to a channel."""

from collections.abc import Sequence

from analytics_pipeline.messages.addresses import parse_address
from analytics_pipeline.messages.channels import CHANNELS
from analytics_pipeline.messages.enqueue import Message, enqueue
from analytics_pipeline.messages.message import Attachment, ClaimedMessage, Content, one_line
from analytics_pipeline.timescale.connection import Connection


def put(
    connection: Connection,
    key: str = "a",
    to: str = "cfo@example.com",
    *,
    subject: str = "subject",
    text: str = "text\n",
    html: str = "",
    company_id: str | None = None,
    about: Sequence[str] = (),
    attachment: Attachment | None = None,
) -> bool:
    """Put an alert to an address into the outbox and tell whether it is new."""
    content = Content(subject=subject, text=text, html=html)
    message = Message(kind="alert", key=key, content=content, company_id=company_id, about=about, attachment=attachment)
    return enqueue(connection, parse_address(to), message)


def claimed(content: Content, to: str, identity: str = "abc123@example.com") -> ClaimedMessage:
    """Return the row that a sender would hold of this content, in the form of the address's channel."""
    address = parse_address(to)
    body = CHANNELS[address.channel].render(content)
    return ClaimedMessage(
        outbox_id=1,
        kind="alert",
        channel=address.channel,
        target=address.target,
        subject=one_line(content.subject),
        text=body.text,
        html=body.html,
        attachment=None,
        message_id=f"<{identity}>",
    )


def no_mark() -> None:
    """Stand for the mark of a message that no row holds."""
