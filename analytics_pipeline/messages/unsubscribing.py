"""One click in a mail ends the reports to its recipient (RFC 8058), without a log-in.

The key of a recipient (``analytics_report_recipients.unsubscribe_key``) is part of the address, and can do that alone.
"""

from analytics_pipeline.languages.wording import Message, message
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection, fetch_row

# What goes with the address in a mail's headers, for mail programs that post it themselves.
ONE_CLICK = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def unsubscribe_address(settings: Settings, key: str) -> str | None:
    """Return the address that ends the reports to the recipient of a key.

    None while ANALYTICS_SERVE_URL is not ``https://``: mail programs post to no other, nor to this machine.
    """
    return f"{settings.serve_url}/unsubscribe/{key}" if settings.serve_url.startswith("https://") else None


def unsubscribe_subject(address: str) -> Message:
    """Return the subject of the mail by which a recipient asks somebody to end the reports."""
    return message("Unsubscribe {address} from reports", address=address)


def unsubscribe(connection: Connection, key: str) -> bool:
    """End the reports to the recipient of a key, and return whether there is such a key."""
    is_known: bool = fetch_row(connection, "SELECT analytics_unsubscribe(%s)", [key])[0]
    return is_known
