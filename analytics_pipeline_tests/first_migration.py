"""A database as its first migration leaves it when it is killed before the policies: to the program a new one.

A migrated database gets there in a moment; an empty one costs an engine and a whole migration.
"""

from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.policies import change_policies
from analytics_pipeline.timescale.server import server_info


def take_back_policies(connection: Connection) -> None:
    """Remove the policies of a migrated database that has no retention, and that any were ever wanted."""
    change_policies(connection, server_info(connection), {"compress_after": "never"})
    for aggregate in AGGREGATES:
        connection.execute("SELECT remove_continuous_aggregate_policy(%s)", [aggregate.name])
    connection.execute("DELETE FROM analytics_policies")
