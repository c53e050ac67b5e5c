"""What people see of the outbox, and what they decide about messages that are not sent by themselves any more."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.connection import Connection

STATES = ("pending", "sending", "sent", "failed", "unknown", "discarded")


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message as it stands; ``problem`` says why it has not been sent, as far as there is a reason."""

    outbox_id: int
    kind: str
    channel: str
    company_id: str | None
    report: str | None
    period: str | None
    target: str
    subject: str
    state: str
    problem: str | None
    created_at: datetime
    attempts: int
    next_attempt_at: datetime
    sent_at: datetime | None
    message_id: str | None


def list_messages(
    connection: Connection, *, state: str | None = None, company_id: str | None = None, most: int = 100
) -> list[OutboxRow]:
    """Return the newest messages first, of one state or company if one is given."""
    rows = connection.execute(
        load_sql("queries/outbox_list.sql"), {"state": state, "company": company_id, "most": most}
    ).fetchall()
    return [OutboxRow(*row) for row in rows]


def retry_messages(connection: Connection, ids: Sequence[int]) -> None:
    """Make failed, unknown and discarded messages due again, all or none of them.

    An unknown one may arrive twice then, with the same Message-ID. Raises ``AnalyticsError`` naming what can't be.
    """
    _decide(connection, "outbox_retry", ids, "sent again: only what failed, is unknown or was discarded can be")


def discard_messages(connection: Connection, ids: Sequence[int]) -> None:
    """Never send pending, failed and unknown messages, all or none of them; raises ``AnalyticsError`` likewise."""
    _decide(connection, "outbox_discard", ids, "discarded: only what is pending, failed or unknown can be")


def _decide(connection: Connection, query: str, ids: Sequence[int], otherwise: str) -> None:
    wanted = set(ids)
    with connection.transaction():
        decided = {row[0] for row in connection.execute(load_sql(f"queries/{query}.sql"), {"ids": list(wanted)})}
        if left := sorted(wanted - decided):
            raise AnalyticsError(f"Nothing was changed: message {left[0]} can't be {otherwise}.")
