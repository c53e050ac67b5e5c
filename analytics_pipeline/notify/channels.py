"""Chooses the channel of the settings."""

from analytics_pipeline.notify.mail import MailNotifier, mail_transport
from analytics_pipeline.notify.notifier import LogNotifier, Notifier
from analytics_pipeline.settings import Settings


def notifier_for(settings: Settings) -> Notifier:
    """Return mail if ANALYTICS_SMTP_URL and ANALYTICS_OPERATORS are set, else the log.

    Raises ``AnalyticsError`` for a mail server that can't be used as it is given.
    """
    if settings.smtp_url is None or not settings.operator_addresses:
        return LogNotifier()
    transport = mail_transport(settings.smtp_url.get_secret_value())
    return MailNotifier(transport, sender=settings.mail_from, recipients=settings.operator_addresses)
