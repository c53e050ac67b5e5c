"""Names that several definitions share: groups, owners, the pool."""

OWNERS = ["team:data"]
# One limit for everything that works on the database; its size is set in dagster.yaml.
POOL = "timescaledb"

# The groups of the asset graph. Plain strings: Dagster can't serialise an enum in their place.
STORAGE = "storage"
AGGREGATES = "aggregates"
METRICS = "metrics"
REPORTS = "reports"
