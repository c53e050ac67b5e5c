"""The partitions of every asset: UTC hours, days and months from one shared start."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetExecutionContext,
    BackfillPolicy,
    DailyPartitionsDefinition,
    Failure,
    HourlyPartitionsDefinition,
    MonthlyPartitionsDefinition,
    TimeWindowPartitionsDefinition,
)

from analytics_pipeline.orchestration.runs import tags
from analytics_pipeline.orchestration.runs.descriptions import REFUSED
from analytics_pipeline.settings import Settings
from analytics_pipeline.windows import Granularity, Window

# A backfill is cut into range runs of at most so many partitions: a quarter of hours or days, a year of
# months. A run that dies loses no more than that, and the two seconds of bookkeeping a run costs besides
# its partitions stay few.
PARTITIONS_PER_RUN = {Granularity.HOUR: 92 * 24, Granularity.DAY: 92, Granularity.MONTH: 12}
# The command that closes a span takes a year at a time: somebody watches it, repeating it skips what is
# done, and each run costs Dagster a pass over every partition there is.
_PARTITIONS_PER_CLOSE = {Granularity.HOUR: 366 * 24, Granularity.DAY: 366, Granularity.MONTH: 12}


_GRANULARITIES: Mapping[type[TimeWindowPartitionsDefinition], Granularity] = {
    HourlyPartitionsDefinition: Granularity.HOUR,
    DailyPartitionsDefinition: Granularity.DAY,
    MonthlyPartitionsDefinition: Granularity.MONTH,
}


def partitions_for(granularity: Granularity, settings: Settings) -> TimeWindowPartitionsDefinition:
    """Return the partitions of a granularity; hours and days and months share the start, so that they nest."""
    start = f"{settings.start:%Y-%m-%d}"
    if granularity is Granularity.HOUR:
        return HourlyPartitionsDefinition(start_date=f"{start}-00:00", timezone="UTC")
    if granularity is Granularity.DAY:
        return DailyPartitionsDefinition(start_date=start, timezone="UTC")
    return MonthlyPartitionsDefinition(start_date=start, timezone="UTC")


def backfill_policy_for(granularity: Granularity) -> BackfillPolicy:
    """Return the policy that runs a backfill as few, bounded ranges."""
    return BackfillPolicy.multi_run(max_partitions_per_run=PARTITIONS_PER_RUN[granularity])


def window_of(context: AssetExecutionContext) -> Window:
    """Return the window of the run's partition, or of its whole range of partitions.

    Raises ``Failure``, which is not retried, for a key of the run that is no partition: Dagster would close another
    range without a word, from the next partition on.
    """
    partitions = context.assets_def.partitions_def
    if not isinstance(partitions, TimeWindowPartitionsDefinition):
        raise TypeError(f"{context.asset_key.to_user_string()} has no partitions of time")
    try:
        keys = partition_keys(context.run.tags) or (context.partition_key,) * 2
        return _window_of_keys(partitions, *keys)
    except ValueError as error:
        raise Failure(
            description=f"Nothing of {context.asset_key.to_user_string()} was closed: {error}.",
            metadata={REFUSED: True},
            allow_retries=False,
        ) from error


def range_tags(window: Window, granularity: Granularity, settings: Settings) -> dict[str, str]:
    """Return the tags of a run over the partitions of an aligned window."""
    key_format = partitions_for(granularity, settings).fmt
    last = granularity.floor(window.end - timedelta(microseconds=1))
    return {
        tags.PARTITION_RANGE_START: f"{window.start:{key_format}}",
        tags.PARTITION_RANGE_END: f"{last:{key_format}}",
    }


def partition_keys(of_run: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the first and the last partition that a run's tags ask for, as they are written; None if for none."""
    first = of_run.get(tags.PARTITION_RANGE_START) or of_run.get(tags.PARTITION)
    if first is None:
        return None
    return first, of_run.get(tags.PARTITION_RANGE_END) or first


def partition_start(partitions: TimeWindowPartitionsDefinition, key: str) -> datetime:
    """Return the start of the partition that has exactly this key; raises ``ValueError`` if none has."""
    try:
        start = partitions.start_time_for_partition_key(key).astimezone(UTC)
    except ValueError:
        start = None
    granularity = _GRANULARITIES[type(partitions)]
    # Dagster takes another minute of an hour, and another day of a month, for keys.
    if start is None or granularity.floor(start) != start or f"{start:{partitions.fmt}}" != key:
        raise ValueError(
            f"{key} is no key of a partition, which are the starts of partitions in UTC such as "
            f"{partitions.start:{partitions.fmt}}"
        )
    return start


def _window_of_keys(partitions: TimeWindowPartitionsDefinition, first: str, last: str) -> Window:
    start, last_start = partition_start(partitions, first), partition_start(partitions, last)
    if start < partitions.start:
        raise ValueError(
            f"{first} is before the first partition, {partitions.start:{partitions.fmt}} (ANALYTICS_START)"
        )
    if last_start < start:
        raise ValueError(f"the range from {first} to {last} ends before it starts")
    return Window(start, _GRANULARITIES[type(partitions)].next(last_start))


def range_runs(span: Window, granularity: Granularity) -> list[Window]:
    """Cut the whole partitions of the span into the windows that ``close`` gives a run each."""
    start, end = granularity.ceil(span.start), granularity.floor(span.end)
    if start >= end:
        return []
    partitions = list(Window(start, end).split(granularity))
    size = _PARTITIONS_PER_CLOSE[granularity]
    chunks = [partitions[i : i + size] for i in range(0, len(partitions), size)]
    return [Window(chunk[0].start, chunk[-1].end) for chunk in chunks]
