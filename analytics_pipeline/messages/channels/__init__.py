"""Chooses the channels of the settings, and sends by them."""

from datetime import timedelta

from analytics_pipeline.messages.channels.mail import MailChannel
from analytics_pipeline.messages.channels.webhook import webhook_channel
from analytics_pipeline.messages.message import ChannelName
from analytics_pipeline.messages.notifiers import transport_for
from analytics_pipeline.messages.sending import Channel, SendReport, send_due
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection


def channels_for(settings: Settings) -> dict[ChannelName, Channel]:
    """Return the channels there are: mail, if ANALYTICS_SMTP_URL is set, and webhooks, if ANALYTICS_WEBHOOKS is.

    Raises ``AnalyticsError`` for one that can't be used as it is given.
    """
    channels: dict[ChannelName, Channel] = {}
    if (transport := transport_for(settings)) is not None:
        channels["mail"] = MailChannel(
            transport,
            sender=settings.mail_sender,
            reply_to=settings.mail_reply,
            answers_to=settings.answers_to,
            artifacts_root=settings.artifacts_root,
        )
    if (webhooks := webhook_channel(settings)) is not None:
        channels["webhook"] = webhooks
    return channels


def send_by_settings(connection: Connection, settings: Settings, *, within: timedelta | None = None) -> SendReport:
    """Send what is due by the channels of the settings; see ``send_due``."""
    return send_due(connection, channels_for(settings), domain=settings.mail_sender.domain, within=within)
