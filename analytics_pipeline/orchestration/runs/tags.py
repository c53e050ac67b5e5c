"""The tags of runs: those that Dagster documents, and ours."""

PARTITION = "dagster/partition"
PARTITION_RANGE_START = "dagster/asset_partition_range_start"
PARTITION_RANGE_END = "dagster/asset_partition_range_end"
MAX_RETRIES = "dagster/max_retries"
PRIORITY = "dagster/priority"
WILL_RETRY = "dagster/will_retry"
FAILURE_REASON = "dagster/failure_reason"

# What a closing run was made for: the name of the sensor that asked for it, or of the command that executes it.
REASON = "analytics/closed_because"
CLOSE, DEMO = "close", "demo"

# On a step that does nothing but statements, in one session, so that others of its run may be executed beside it: what
# they do. Figures that are computed while an aggregate is refreshed would have to be computed again: they have not seen
# what the refresh notes in the end.
STATEMENTS = "analytics/statements"
REFRESH, FIGURES, OTHERS = "refresh", "figures", "others"
