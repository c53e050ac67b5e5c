"""The days whose events users and subscriptions have to take in again, as refreshes have noted them.

What a change of figures is, and who has seen it: ``sql/functions/closing.sql`` and the metric tables (``tables``).
"""

from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window


def changed_windows(connection: Connection) -> dict[str, list[Window]]:
    """Return by table the closed days whose events have changed since, as far as a refresh has noted them.

    Of the tables that are made of the events of each day and kept: ``analytics_users`` and ``analytics_subscriptions``.
    What no refresh has come by since is in TimescaleDB's invalidation logs (``timescale.invalidation``).
    """
    rows = connection.execute(
        "SELECT c.relation, lower(r), upper(r) FROM analytics_closed_windows AS c, unnest(c.changed) AS r ORDER BY 2"
    ).fetchall()
    found: dict[str, list[Window]] = {}
    for relation, start, end in rows:
        found.setdefault(relation, []).append(Window(start, end))
    return found
