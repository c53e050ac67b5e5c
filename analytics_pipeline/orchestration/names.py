"""Names that several definitions share: groups, owners, the pool."""

from enum import StrEnum

OWNERS = ["team:data"]
# One limit for everything that works on the database; its size is set in dagster.yaml.
POOL = "timescaledb"


class Group(StrEnum):
    """The groups of the asset graph."""

    STORAGE = "storage"
    AGGREGATES = "aggregates"
    METRICS = "metrics"
    REPORTS = "reports"
    OPERATIONS = "operations"
