"""The lock under which figures and what they stand on are changed, so that no change is missed.

Belongs here: taking the lock. What a change is, and who has seen it: ``sql/functions/closing.sql`` and the
metric tables (``tables``).
"""

from analytics_pipeline.timescale.connection import Connection


def lock_changes(connection: Connection, *, shared: bool = False) -> None:
    """Take the lock of ``analytics_metric_changes`` to the end of the transaction.

    Alone for whoever changes users, subscriptions or rates, shared for whoever computes figures from them. It has
    to be the transaction's first statement: what is read before may be older than the lock.
    """
    connection.execute("SELECT analytics_lock_changes(%s)", [shared])
