"""How the database stands, in figures: the views of ``sql/operations.sql``, read at one instant.

Prometheus (``analytics_operations``), the assets of monitoring and the operations dashboard of Grafana read the same
views; ``health`` judges what they hold.
"""

from typing import Any, Final

from psycopg import sql
from psycopg.rows import dict_row

from analytics_pipeline.timescale.connection import Connection, one_state

Rows = list[dict[str, Any]]
Stats = dict[str, Rows]

# A section each, by the columns that order its rows.
_VIEWS: Final = {
    "database": "name",
    "relations": "relation",
    "chunks": "range_start",
    "jobs": "procedure, relation",
    "lag": "aggregate",
    "partitions": "asset",
    "stale": "asset",
    "changes": "cause",
    "outbox": "kind, channel, state",
    "checks": "subject, check_name",
    "recent": "age",
    "queries": "rank",
    "dagster": "table_name",
}
SECTIONS: Final = tuple(_VIEWS)


def read_stats(connection: Connection) -> Stats:
    """Return the rows of each section (``SECTIONS``): bytes, counts, instants in UTC, and durations.

    ``recent`` counts events that happened and records that were rejected in the last whole hour, the last day, 7 and 30
    days; ``dagster`` is as it was measured last. The connection is in no transaction.
    """
    with one_state(connection), connection.cursor(row_factory=dict_row) as cursor:
        return {
            section: cursor.execute(
                sql.SQL("SELECT * FROM {} ORDER BY {}").format(
                    sql.Identifier(f"analytics_operations_{section}"),
                    sql.SQL(", ").join(map(sql.Identifier, order.split(", "))),
                )
            ).fetchall()
            for section, order in _VIEWS.items()
        }
