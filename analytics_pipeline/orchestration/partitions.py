"""The partitions of every asset: UTC hours, days and months from one shared start."""

from dagster import (
    AssetExecutionContext,
    BackfillPolicy,
    DailyPartitionsDefinition,
    HourlyPartitionsDefinition,
    MonthlyPartitionsDefinition,
    TimeWindowPartitionsDefinition,
)

from analytics_pipeline.settings import Settings
from analytics_pipeline.windows import Cadence, Window

# A backfill is cut into range runs of at most so many partitions: a quarter of hours or days, a year of
# months. A run that dies loses no more than that, and the two seconds of bookkeeping a run costs besides
# its partitions stay few.
PARTITIONS_PER_RUN = {Cadence.HOUR: 92 * 24, Cadence.DAY: 92, Cadence.MONTH: 12}
# The command that closes a span takes a year at a time: somebody watches it, repeating it skips what is
# done, and each run costs Dagster a look at every partition there is.
_PARTITIONS_PER_CLOSE = {Cadence.HOUR: 366 * 24, Cadence.DAY: 366, Cadence.MONTH: 12}


def partitions_for(cadence: Cadence, settings: Settings) -> TimeWindowPartitionsDefinition:
    """Return the partitions of a cadence; hours and days and months share the start, so that they nest."""
    start = f"{settings.start:%Y-%m-%d}"
    if cadence is Cadence.HOUR:
        return HourlyPartitionsDefinition(start_date=f"{start}-00:00", timezone="UTC")
    if cadence is Cadence.DAY:
        return DailyPartitionsDefinition(start_date=start, timezone="UTC")
    return MonthlyPartitionsDefinition(start_date=start, timezone="UTC")


def backfill_policy_for(cadence: Cadence) -> BackfillPolicy:
    """Return the policy that runs a backfill as few, bounded ranges."""
    return BackfillPolicy.multi_run(max_partitions_per_run=PARTITIONS_PER_RUN[cadence])


def window_of(context: AssetExecutionContext) -> Window:
    """Return the window of the run's partition, or of its whole range of partitions."""
    span = context.partition_time_window
    return Window(span.start, span.end)


def range_runs(span: Window, cadence: Cadence) -> list[Window]:
    """Cut the whole partitions of the span into the windows that ``close`` gives a run each."""
    start, end = cadence.ceil(span.start), cadence.floor(span.end)
    if start >= end:
        return []
    partitions = list(Window(start, end).split(cadence))
    size = _PARTITIONS_PER_CLOSE[cadence]
    chunks = [partitions[i : i + size] for i in range(0, len(partitions), size)]
    return [Window(chunk[0].start, chunk[-1].end) for chunk in chunks]
