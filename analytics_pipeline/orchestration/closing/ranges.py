"""The ranges in which partitions are closed: bounded, and as few as what lies between them allows.

A run costs seconds, whatever it closes; closing a partition again that is right already costs milliseconds and changes
nothing. So ranges of hours, and of days, that lie near each other become one run over what is closed between them: 158
late hours of five months are one or two runs, where each used to be a run of its own. Months are never joined: the
reports of a month that is closed again are made anew.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS
from analytics_pipeline.orchestration.partition_definitions import PARTITIONS_PER_RUN
from analytics_pipeline.windows import Granularity, Window, join_windows

# So many partitions, of one asset, are closed again for one run less; where there would be more runs than a sensor asks
# for at once, twice as many, and so on.
_WORTH_A_RUN = 100
# A range that has failed is tried again in parts of a tenth, and then of a hundredth: what made it fail is then alone.
_PARTS = 10


@dataclass(frozen=True, slots=True)
class RangeToClose:
    """Partitions beside each other that one run closes, for some assets of a job."""

    job: str
    assets: tuple[str, ...]
    window: Window

    @property
    def granularity(self) -> Granularity:
        """The width of its partitions."""
        return CLOSING_JOBS[self.job]

    @property
    def partitions(self) -> int:
        """The number of its partitions, those of all its assets."""
        return len(self.assets) * self.window.count(self.granularity)


def group_ranges(job: str, wanted: Mapping[str, Iterable[Window]]) -> list[RangeToClose]:
    """Return the stretches of a job's assets as ranges, each over the assets that share its window, in order."""
    windows = {asset: join_windows(stretches) for asset, stretches in wanted.items()}
    bounds = sorted({bound for stretches in windows.values() for w in stretches for bound in (w.start, w.end)})
    assets_at: defaultdict[Window, list[str]] = defaultdict(list)
    pieces = [Window(start, end) for start, end in pairwise(bounds)]
    for asset, stretches in sorted(windows.items()):
        for piece in _covered(pieces, stretches):
            assets_at[piece].append(asset)
    ranges: list[RangeToClose] = []
    for window, assets in sorted(assets_at.items()):
        last = ranges[-1] if ranges else None
        if last is not None and last.window.end == window.start and last.assets == tuple(assets):
            ranges[-1] = replace(last, window=Window(last.window.start, window.end))
        else:
            ranges.append(RangeToClose(job, tuple(assets), window))
    return ranges


def join_ranges(ranges: list[RangeToClose], closable: Mapping[str, list[Window]], at_most: int) -> list[RangeToClose]:
    """Join the ranges of a job, which are in order, where they lie near each other, until at most so many are left.

    ``closable`` holds by asset the stretches, in order, that may be closed: what has to wait lies between them, and no
    joined range reaches over it. None gets longer than a run may be.
    """
    if not ranges or ranges[0].granularity is Granularity.MONTH:
        return ranges
    starts = {asset: [stretch.start for stretch in stretches] for asset, stretches in closable.items()}

    def is_closable(asset: str, window: Window) -> bool:
        before = bisect_right(starts[asset], window.start)
        return before > 0 and window.end <= closable[asset][before - 1].end

    longest = PARTITIONS_PER_RUN[ranges[0].granularity]
    worth = _WORTH_A_RUN
    while True:
        joined = ranges[:1]
        for each in ranges[1:]:
            both = _hull(joined[-1], each)
            again = both.partitions - joined[-1].partitions - each.partitions
            is_short = again <= worth and both.window.count(both.granularity) <= longest
            if is_short and all(is_closable(asset, both.window) for asset in both.assets):
                joined[-1] = both
            else:
                joined.append(each)
        ranges = joined
        if len(ranges) <= at_most or worth > longest * len(closable):
            return ranges
        worth *= 2


def cut_range(whole: RangeToClose, attempts: int = 0) -> Iterator[RangeToClose]:
    """Yield a range in parts that a run each may close; in smaller ones, the more attempts at it have failed."""
    size = -(-PARTITIONS_PER_RUN[whole.granularity] // _PARTS**attempts)
    start, granularity = whole.window.start, whole.granularity
    while start < whole.window.end:
        end = start
        for _ in range(size):
            end = granularity.next(end)
            if end >= whole.window.end:
                break
        yield replace(whole, window=Window(start, end))
        start = end


def _hull(first: RangeToClose, second: RangeToClose) -> RangeToClose:
    """Return the range from the start of one to the end of a later one, for the assets of both."""
    assets = first.assets if first.assets == second.assets else tuple(sorted({*first.assets, *second.assets}))
    return RangeToClose(first.job, assets, Window(first.window.start, max(first.window.end, second.window.end)))


def _covered(pieces: list[Window], stretches: list[Window]) -> Iterator[Window]:
    """Yield the pieces that lie within a stretch; both are in order, and no piece reaches over a stretch's end."""
    rest = iter(stretches)
    stretch = next(rest, None)
    for piece in pieces:
        while stretch is not None and stretch.end <= piece.start:
            stretch = next(rest, None)
        if stretch is None:
            return
        if stretch.start <= piece.start:
            yield piece
