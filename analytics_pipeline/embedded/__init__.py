"""The databases of one machine: TimescaleDB for the analytics, PostgreSQL for Dagster's storage.

Belongs here: installing, starting, stopping and watching the two servers. Does not belong here:
schema, settings, anything that talks SQL for the program's sake.
"""

from analytics_pipeline.embedded.postgres import EmbeddedPostgres
from analytics_pipeline.embedded.status import EmbeddedStatus, State
from analytics_pipeline.embedded.timescale import TCP_PORT, EmbeddedTimescale

__all__ = ["TCP_PORT", "EmbeddedPostgres", "EmbeddedStatus", "EmbeddedTimescale", "State"]
