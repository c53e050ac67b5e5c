"""What the tests of the outbox share: an outbox with documents and recipients, and a sender to a real server."""

from collections.abc import Callable, Iterator

import pytest

from analytics_pipeline.mail_addresses import Mailbox
from analytics_pipeline.messages.channels.mail import MailChannel
from analytics_pipeline.messages.sending import SendReport, send_due
from analytics_pipeline.messages.smtp import MailServer
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.messages.mail_catcher import Catcher, mail_server

SENDER = "reports@example.com"

Send = Callable[[], SendReport]


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """An autocommit connection to a migrated database."""
    with database.connect(autocommit=True) as connection:
        yield connection


@pytest.fixture
def catcher() -> Iterator[Catcher]:
    """A mail server on loopback, in the clear."""
    with mail_server() as catcher:
        yield catcher


@pytest.fixture
def send(connection: Connection, catcher: Catcher) -> Send:
    """Send what is due to the server, with little patience."""

    def _send() -> SendReport:
        return send_due(connection, {"mail": channel_to(catcher.port)}, domain="example.com")

    return _send


def channel_to(port: int, *, patience: float = 5) -> MailChannel:
    """Return the mail channel to a server on loopback."""
    return MailChannel(
        MailServer.parse(f"smtp://127.0.0.1:{port}"),
        sender=Mailbox(SENDER),
        answers_to=SENDER,
        artifacts_root=get_settings().artifacts_root,
        timeouts=Timeouts(step=patience, answer=patience),
    )


def pass_time(connection: Connection, minutes: int) -> None:
    """Let time pass for everything that waits, leases included."""
    connection.execute(
        "UPDATE analytics_outbox SET next_attempt_at = next_attempt_at - %(t)s::interval, "
        "lease_until = lease_until - %(t)s::interval",
        {"t": f"{minutes} minutes"},
    )


def states(connection: Connection) -> list[str]:
    """Return the states of all messages in their order."""
    return [state for (state,) in connection.execute("SELECT state FROM analytics_outbox ORDER BY outbox_id")]
