"""Names that several definitions share: groups, owners, the pool, the retry policy."""

from dagster import Backoff, Jitter

from analytics_pipeline.orchestration.cancellation import StepRetry

OWNERS = ["team:data"]
# One limit for everything that works on the database; its size is set in dagster.yaml.
POOL = "timescaledb"

# For what may pass by itself, see resources.Timescale: after about 1, 2, 4 and 8 seconds.
RETRY = StepRetry(max_retries=4, delay=1, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)

# The check that proves the partitions which a run has just closed, of every asset that has one.
WINDOW_CHECK = "window_reconciles"

# What a closing run was made for: the name of the sensor that asked for it, or of the command that executes it.
REASON_TAG = "analytics/closed_because"
CLOSE, DEMO = "close", "demo"

# The groups of the asset graph. Plain strings: Dagster can't serialise an enum in their place.
STORAGE = "storage"
AGGREGATES = "aggregates"
METRICS = "metrics"
REPORTS = "reports"
