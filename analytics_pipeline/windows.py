"""Half-open windows of time in UTC, aligned to hours, days and months."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from analytics_pipeline.errors import AnalyticsError


class Granularity(StrEnum):
    """The width of a bucket, and of a partition."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    def floor(self, instant: datetime) -> datetime:
        """Return the start of the bucket that holds the instant (aware, any zone), in UTC."""
        day = instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        if self is Granularity.HOUR:
            return day
        return day.replace(hour=0) if self is Granularity.DAY else day.replace(hour=0, day=1)

    def ceil(self, instant: datetime) -> datetime:
        """Return the instant itself if it is a bucket's start, else the start of the next bucket, in UTC."""
        start = self.floor(instant)
        return start if start == instant else self.next(start)

    def next(self, start: datetime) -> datetime:
        """Return the start of the bucket after the one that starts at ``start``."""
        if self is Granularity.HOUR:
            return start + timedelta(hours=1)
        if self is Granularity.DAY:
            return start + timedelta(days=1)
        return (start + timedelta(days=32)).replace(day=1)


@dataclass(frozen=True, order=True)
class Window:
    """The half-open span ``[start, end)``, both aware and in UTC.

    Raises ``ValueError`` when an end is naive or the span is empty.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        """Refuse naive instants and empty spans; normalise to UTC."""
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window needs instants with a time zone")
        object.__setattr__(self, "start", self.start.astimezone(UTC))
        object.__setattr__(self, "end", self.end.astimezone(UTC))
        if self.start >= self.end:
            raise ValueError(f"a window must end after it starts: [{self.start}, {self.end})")

    def __str__(self) -> str:
        """Show the span as interval notation with ISO instants."""
        return f"[{self.start:%Y-%m-%dT%H:%MZ}, {self.end:%Y-%m-%dT%H:%MZ})"

    @classmethod
    def of_dates(cls, start: date, end_inclusive: date) -> "Window":
        """Return the window of whole UTC days from ``start`` to ``end_inclusive``."""
        return cls(midnight(start), midnight(end_inclusive + timedelta(days=1)))

    @classmethod
    def of_month(cls, day: date) -> "Window":
        """Return the calendar month that holds ``day``, UTC."""
        start = midnight(day.replace(day=1))
        return cls(start, Granularity.MONTH.next(start))

    def is_aligned(self, granularity: Granularity) -> bool:
        """Return whether both ends are bucket starts of the granularity."""
        return granularity.floor(self.start) == self.start and granularity.floor(self.end) == self.end

    def split(self, granularity: Granularity) -> "Iterator[Window]":
        """Yield the window cut at every bucket start of the granularity, in order."""
        start, end = self.start, granularity.next(granularity.floor(self.start))
        while start < self.end:
            yield Window(start, min(end, self.end))
            start, end = end, granularity.next(end)

    def count(self, granularity: Granularity) -> int:
        """Return how many buckets of the granularity an aligned window holds."""
        if granularity is Granularity.MONTH:
            return 12 * (self.end.year - self.start.year) + self.end.month - self.start.month
        return (self.end - self.start) // (granularity.next(self.start) - self.start)

    def widen(self, granularity: Granularity) -> "Window":
        """Return the smallest window of whole buckets of the granularity that holds this one."""
        return Window(granularity.floor(self.start), granularity.ceil(self.end))

    def holds(self, instant: datetime) -> bool:
        """Return whether an aware instant lies in the window."""
        return self.start <= instant < self.end

    def overlaps(self, other: "Window") -> bool:
        """Return whether the two windows share an instant."""
        return self.start < other.end and other.start < self.end

    @property
    def first_day(self) -> date:
        """The calendar day (UTC) in which the window starts."""
        return self.start.date()

    @property
    def last_day(self) -> date:
        """The last calendar day (UTC) the window touches."""
        return (self.end - timedelta(microseconds=1)).date()

    @property
    def time_zone(self) -> str:
        """The time zone whose days and months it is meant in."""
        return "UTC"


@dataclass(frozen=True)
class LocalWindow(Window):
    """A window of whole days of another time zone (IANA) than UTC: its instants, and its first and last date there.

    Which instants they are, the database knows (``companies.local_windows``). ``split`` and ``widen`` are about
    buckets, which are in UTC for every window.
    """

    zone: str
    dates: tuple[date, date]

    def is_aligned(self, granularity: Granularity) -> bool:
        """Return whether it is made of whole hours, days or months of its time zone."""
        if granularity is Granularity.MONTH:
            return self.first_day.day == 1 and (self.last_day + timedelta(days=1)).day == 1
        return True

    @property
    def first_day(self) -> date:
        """The first calendar day of the window in its time zone."""
        return self.dates[0]

    @property
    def last_day(self) -> date:
        """The last calendar day of the window in its time zone."""
        return self.dates[1]

    @property
    def time_zone(self) -> str:
        """The time zone whose days and months it is meant in."""
        return self.zone


def require_aligned(what: str, granularity: Granularity, window: Window) -> None:
    """Raise ``AnalyticsError`` if a window of what is closed doesn't begin and end on boundaries of the granularity."""
    if not window.is_aligned(granularity):
        raise AnalyticsError(f"{what} is closed in whole {granularity}s, not for {window}.")


def join_windows(windows: Iterable[Window]) -> list[Window]:
    """Return the stretches that the windows cover, in order: those that touch or overlap become one."""
    joined: list[Window] = []
    for window in sorted(windows):
        if joined and window.start <= joined[-1].end:
            joined[-1] = Window(joined[-1].start, max(joined[-1].end, window.end))
        else:
            joined.append(window)
    return joined


def without_windows(windows: Iterable[Window], others: Iterable[Window]) -> list[Window]:
    """Return the stretches of the windows that none of the others covers, in order."""
    left: list[Window] = []
    cuts = deque(join_windows(others))
    for window in join_windows(windows):
        start = window.start
        while cuts and cuts[0].start < window.end:
            cut = cuts[0]
            if start < cut.start:
                left.append(Window(start, cut.start))
            start = max(start, cut.end)
            if cut.end > window.end:
                break
            cuts.popleft()
        if start < window.end:
            left.append(Window(start, window.end))
    return left


def common_windows(windows: Iterable[Window], others: Iterable[Window]) -> list[Window]:
    """Return the stretches that both the windows and the others cover, in order."""
    left = join_windows(windows)
    return without_windows(left, without_windows(left, others))


def midnight(day: date) -> datetime:
    """Return the day's first instant in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
