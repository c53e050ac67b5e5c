"""Puts messages into the outbox, each once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analytics_pipeline.messages.addresses import Address
from analytics_pipeline.messages.channels import CHANNELS
from analytics_pipeline.messages.message import Attachment, Content, Kind, one_line, storable
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is to be sent, whoever gets it.

    ``key`` is the same for the same message, however often it is put in. ``company_id`` None: the platform. Messages
    that share an entry of ``about`` reach a target in the order in which they were put in.
    """

    kind: Kind
    key: str
    content: Content
    company_id: str | None = None
    about: Sequence[str] = ()
    attachment: Attachment | None = None


def enqueue(connection: Connection, address: Address, message: Message) -> bool:
    """Put in a message to one address and return whether it is new; one of the same key, sent or not, changes nothing.

    It is part of the caller's transaction, if there is one. Reports come in by ``reports.mail``: theirs are rows of a
    document and a recipient.
    """
    body = CHANNELS[address.channel].render(message.content)
    attachment = message.attachment
    parameters = {
        "kind": message.kind,
        "dedupe_key": f"{message.key}:{address.key}",
        "about": list(message.about) or None,
        "channel": address.channel,
        "company_id": message.company_id,
        "target": address.target,
        "subject": one_line(message.content.subject),
        "text": storable(body.text),
        "html": None if body.html is None else storable(body.html),
        "attachment_uri": attachment and attachment.uri,
        "attachment_name": attachment and attachment.name,
        "attachment_file": attachment and attachment.file,
        "attachment_sha256": attachment and attachment.sha256,
        "attachment_size": attachment and attachment.size,
    }
    return connection.execute(load_query("outbox_enqueue"), parameters).rowcount > 0


def enqueue_incidents(
    connection: Connection, addresses: Iterable[Address], together: Message, single: Sequence[Message]
) -> int:
    """Put in what has begun or ended and return how many messages are new.

    ``together`` is one message about all of it, ``single`` one about each: channels that open and close an entry of
    their own per incident get these.
    """
    return sum(
        enqueue(connection, address, message)
        for address in addresses
        for message in (single if CHANNELS[address.channel].one_event_each else [together])
    )
