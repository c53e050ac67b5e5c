"""What closing a span would do: the runs, what is closed already, and how long it may take. Nothing is changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from dagster import DagsterInstance

from analytics_pipeline.database import connect
from analytics_pipeline.metrics.partitions import ALL_EVENTS, closing_runs, closing_stretches
from analytics_pipeline.orchestration.close import ranges_to_close
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.runs.dagster_storage import open_instance
from analytics_pipeline.orchestration.runs.descriptions import describe_run
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import count_buckets
from analytics_pipeline.windows import Granularity, Window, common_windows, join_windows, without_windows


@dataclass(frozen=True, slots=True)
class RangePreview:
    """One run that would be made: its job and window, and what there is of that.

    ``open`` and ``stale`` count the partitions of which some asset is not closed, or has changed since; the others
    would be closed again as they are. ``events`` are those that the aggregates count now. ``seconds`` is an estimate,
    None where no run was recorded to estimate by.
    """

    job: str
    window: Window
    assets: int
    partitions: int
    open: int
    stale: int
    events: int
    seconds: float | None

    def __str__(self) -> str:
        """Show the run in a line for people."""
        duration = "nothing like it was closed before" if self.seconds is None else f"about {self.seconds:.1f} s"
        return (
            f"{self.job:<20} {self.window}  {self.partitions:,} partitions of {self.assets} assets, "
            f"{self.open:,} open, {self.stale:,} stale, {self.events:,} events, {duration}"
        )

    def as_json(self) -> dict[str, object]:
        """Return the run with the fields of the command's JSON."""
        return {
            "job": self.job,
            "start": self.window.start,
            "end": self.window.end,
            "assets": self.assets,
            "partitions": self.partitions,
            "open": self.open,
            "stale": self.stale,
            "events": self.events,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class ClosePreview:
    """What closing a span would do: its runs in order, and in sentences what is left out, under way, or has failed."""

    ranges: list[RangePreview]
    left_out: list[str]
    under_way: list[str]
    failed: list[str]

    @property
    def seconds(self) -> float | None:
        """How long all runs may take, None where one of them can't be estimated."""
        known = [each.seconds for each in self.ranges if each.seconds is not None]
        return sum(known) if len(known) == len(self.ranges) else None


def preview_with_instance(settings: Settings, span: Window) -> ClosePreview:
    """Do as ``preview_close`` does, with the instance of ``DAGSTER_HOME``."""
    with open_instance(settings) as instance, connect(settings, autocommit=True) as connection:
        return preview_close(settings, instance, connection, span)


def preview_close(settings: Settings, instance: DagsterInstance, connection: Connection, span: Window) -> ClosePreview:
    """Say what closing the half-open span would do now; autocommit connection. Nothing is changed.

    Raises as closing it would: for a span that holds nothing that has ended, begins before ``ANALYTICS_START`` or
    behind the retention horizon, and when the clocks differ.
    """
    # What reading the state notes on its way, the horizon say, is taken back.
    with connection.transaction(force_rollback=True):
        ranges = ranges_to_close(connection, settings, span)
        now = database_now(connection)
        state = PartitionState(instance, connection, settings, now)
        return ClosePreview(
            ranges=[_preview_range(connection, job, window) for job, window in ranges],
            left_out=list(_left_out(span, ranges, now)),
            under_way=list(dict.fromkeys(_under_way(state, ranges))),
            failed=list(_failed(state, ranges)),
        )


def _preview_range(connection: Connection, job: str, window: Window) -> RangePreview:
    granularity, assets = CLOSING_JOBS[job], assets_of(job)
    stretches: dict[str, list[Window]] = {"closed": [], "stale": [], "open": []}
    known: dict[str, list[Window]] = {asset: [] for asset in assets}
    for asset, state, start, end in closing_stretches(connection, window):
        if asset in known:
            stretches[state].append(Window(start, end))
            known[asset].append(Window(start, end))
    # Of what was never begun there is no row.
    stretches["open"] += [gap for windows in known.values() for gap in without_windows([window], windows)]

    def count(state: str) -> int:
        return sum(part.count(granularity) for part in common_windows([window], stretches[state]))

    counted = next(aggregate for aggregate in AGGREGATES if aggregate.name == ALL_EVENTS)
    return RangePreview(
        job=job,
        window=window,
        assets=len(assets),
        partitions=window.count(granularity),
        open=count("open"),
        stale=count("stale"),
        events=sum(bucket.events for bucket in count_buckets(connection, counted, window)),
        seconds=_estimate(connection, assets, window.count(granularity)),
    )


def _estimate(connection: Connection, assets: list[str], partitions: int) -> float | None:
    """Return the seconds that the recorded run of the nearest size took, more for more partitions."""
    runs = closing_runs(connection, assets)
    if not runs:
        return None
    nearest = min(runs, key=lambda run: abs(run.partitions - partitions))
    return nearest.seconds * max(1.0, partitions / nearest.partitions)


def _left_out(span: Window, ranges: list[tuple[str, Window]], now: datetime) -> Iterator[str]:
    for granularity in Granularity:
        covered = [window for job, window in ranges if CLOSING_JOBS[job] is granularity]
        ended = granularity.floor(now)
        for part in without_windows([span.widen(granularity)], covered):
            for window, why in (
                (Window(part.start, min(part.end, ended)) if part.start < ended else None, "reach beyond the span"),
                (Window(max(part.start, ended), part.end) if part.end > ended else None, "have not ended"),
            ):
                if window is not None:
                    yield f"{granularity}s of {window} {why}"


def _under_way(state: PartitionState, ranges: list[tuple[str, Window]]) -> Iterator[str]:
    for job, window in ranges:
        for asset in assets_of(job):
            for run in state.runs_over(asset, window):
                yield f"{run.window}: {describe_run(state.settings, run.run_id)} is going to close it, or does so now"


def _failed(state: PartitionState, ranges: list[tuple[str, Window]]) -> Iterator[str]:
    for job, span in ranges:
        for asset in assets_of(job):
            for failed in state.failed(asset):
                for window in join_windows(common_windows([span], [failed.window])):
                    times = "once" if failed.attempts == 1 else f"{failed.attempts} times"
                    why = f": {failed.failure}" if failed.failure else ""
                    run = describe_run(state.settings, failed.run_id)
                    yield f"{asset} for {window} failed {times}, last in {run}{why}"
