"""Chooses the channel of the settings."""

from analytics_pipeline.messages.notifier import LogNotifier, Notifier
from analytics_pipeline.messages.smtp import MailNotifier, MailTransport, mail_transport
from analytics_pipeline.settings import Settings


def notifier_for(settings: Settings) -> Notifier:
    """Return mail if ANALYTICS_SMTP_URL and ANALYTICS_OPERATORS are set, else the log.

    Raises ``AnalyticsError`` for a mail server that can't be used as it is given.
    """
    transport = transport_for(settings)
    if transport is None or not settings.operator_addresses:
        return LogNotifier()
    return MailNotifier(
        transport,
        sender=settings.mail_sender,
        recipients=settings.operator_addresses,
        reply_to=settings.mail_reply,
    )


def transport_for(settings: Settings) -> MailTransport | None:
    """Return what carries mails, None without ANALYTICS_SMTP_URL; raises ``AnalyticsError`` likewise."""
    if settings.smtp_url is None:
        return None
    oauth = settings.smtp_oauth.get_secret_value() if settings.smtp_oauth is not None else None
    return mail_transport(settings.smtp_url.get_secret_value(), oauth=oauth, ehlo=settings.mail_ehlo)
