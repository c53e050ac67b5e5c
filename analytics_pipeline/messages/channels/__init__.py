"""The channels there are, a class each. Another one is its class and a line here."""

from typing import Final

from analytics_pipeline.messages.channel import Channel
from analytics_pipeline.messages.channels.folder import FolderChannel
from analytics_pipeline.messages.channels.log import LogChannel
from analytics_pipeline.messages.channels.mail import MailChannel
from analytics_pipeline.messages.channels.pagerduty import PagerDutyChannel
from analytics_pipeline.messages.channels.slack import SlackChannel
from analytics_pipeline.messages.channels.teams import TeamsChannel
from analytics_pipeline.messages.channels.webhook import WebhookChannel

_CLASSES: tuple[type[Channel], ...] = (
    MailChannel,
    WebhookChannel,
    SlackChannel,
    TeamsChannel,
    PagerDutyChannel,
    FolderChannel,
    LogChannel,
)

CHANNELS: Final = {channel.name: channel for channel in _CLASSES}
"""The class of each channel, by what stands before the colon of an address."""
