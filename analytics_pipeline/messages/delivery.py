"""Sends by the channels of the settings: what is due in the outbox, and the one message that can't wait there."""

import logging
from collections.abc import Collection, Iterable
from datetime import timedelta

from analytics_pipeline.messages.addresses import Address
from analytics_pipeline.messages.channel import Channel, DeliveryUnknown, NotDelivered
from analytics_pipeline.messages.channels import CHANNELS
from analytics_pipeline.messages.message import ClaimedMessage, Content, Kind, one_line
from analytics_pipeline.messages.sending import SendReport, send_due
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection

_log = logging.getLogger("analytics_pipeline.messages")


def channels_for(settings: Settings, timeouts: Timeouts | None = None) -> dict[str, Channel]:
    """Return the channels that the settings describe, by name; ``timeouts`` None: each has its own.

    Raises ``AnalyticsError`` for one that can't be used as it is given.
    """
    channels = {name: channel.from_settings(settings, timeouts) for name, channel in CHANNELS.items()}
    return {name: channel for name, channel in channels.items() if channel is not None}


def send_by_settings(
    connection: Connection,
    settings: Settings,
    *,
    within: timedelta | None = None,
    kinds: Collection[Kind] | None = None,
    timeouts: Timeouts | None = None,
) -> SendReport:
    """Send what is due by the channels of the settings; see ``send_due`` and ``channels_for``."""
    channels = channels_for(settings, timeouts)
    return send_due(connection, channels, domain=settings.mail_sender.domain, within=within, kinds=kinds)


def send_without_outbox(
    settings: Settings, addresses: Iterable[Address], content: Content, identity: str, timeouts: Timeouts
) -> list[Address]:
    """Send a message that no database can hold, and return where it has been sent, or may have arrived.

    ``identity`` is what the ids of the messages are made from: the same on every attempt. What is not delivered is in
    the log. Raises ``AnalyticsError`` for settings that can't be used.
    """
    channels = channels_for(settings, timeouts)
    sent = []
    for address in addresses:
        body = CHANNELS[address.channel].render(content)
        message = ClaimedMessage(
            outbox_id=0,
            kind="failure",
            channel=address.channel,
            target=address.target,
            subject=one_line(content.subject),
            text=body.text,
            html=body.html,
            attachment=None,
            message_id=f"<{identity}@{settings.mail_sender.domain}>",
        )
        try:
            # Operators are at addresses whose channels are set.
            channels[address.channel].send(message, lambda: None)
        except NotDelivered as error:
            _log.warning("%s could not be notified: %s", address, error)
            continue
        except DeliveryUnknown as error:
            _log.warning("Whether %s was notified is unknown: %s", address, error)
        sent.append(address)
    return sent
