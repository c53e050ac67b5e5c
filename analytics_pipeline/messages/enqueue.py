"""Puts messages into the outbox, each once."""

from collections.abc import Sequence

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.mail_addresses import require_address
from analytics_pipeline.messages.message import Attachment, ChannelName, one_line, storable
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.connection import Connection


def enqueue_alert(
    connection: Connection,
    *,
    dedupe_key: str,
    channel: ChannelName,
    target: str,
    subject: str,
    text: str,
    html: str | None = None,
    company_id: str | None = None,
    about: Sequence[str] = (),
    attachment: Attachment | None = None,
) -> bool:
    """Put one alert in and tell whether it is new; one of the same key, sent or not, changes nothing.

    It is part of the caller's transaction, if there is one. ``target`` is a mail address, or the name of a
    webhook. ``company_id`` None: the platform. Messages that share an entry of ``about`` reach a target in the order
    in which they were put in. Raises ``AnalyticsError`` for what is no address.

    Reports come in by ``reports.mail``: theirs are rows of a document and a recipient.
    """
    if channel == "mail":
        try:
            target = require_address(target)
        except ValueError as error:
            raise AnalyticsError(f"No mail can be sent there: {error}.") from error
    parameters = {
        "dedupe_key": dedupe_key,
        "about": list(about) or None,
        "channel": channel,
        "company_id": company_id,
        "target": target,
        "subject": one_line(subject),
        "text": storable(text),
        "html": None if html is None else storable(html),
        "attachment_uri": attachment and attachment.uri,
        "attachment_name": attachment and attachment.name,
        "attachment_file": attachment and attachment.file,
        "attachment_sha256": attachment and attachment.sha256,
        "attachment_size": attachment and attachment.size,
    }
    return connection.execute(load_sql("queries/outbox_enqueue.sql"), parameters).rowcount > 0
