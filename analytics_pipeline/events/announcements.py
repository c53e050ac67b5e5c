"""Announces that data has changed, to whoever shows it live: one NOTIFY for each batch or closed partition.

NOTIFY takes a lock of the whole server at commit: those that store much at once announce it once, and no trigger does.
It holds no name: anybody who may connect can listen.
"""

from psycopg import sql

from analytics_pipeline.timescale.connection import Connection

CHANNEL = "analytics_changes"


def announce_change(connection: Connection) -> None:
    """Announce that data has changed; inside a transaction, listeners hear of it when that commits."""
    with connection.transaction():
        connection.execute(sql.SQL("NOTIFY {}").format(sql.Identifier(CHANNEL)))
