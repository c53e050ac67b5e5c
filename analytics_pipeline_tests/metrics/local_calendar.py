"""The dates of a time zone by Python's own data of zones: a second reading of where a date begins."""

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from analytics_pipeline.windows import Granularity, LocalWindow, Window

_STEP = timedelta(minutes=15)
A_DAY = timedelta(days=1)


class LocalCalendar:
    """The dates of a zone within a span: each with the first instant at which its clocks show it, or a later one."""

    def __init__(self, zone: str, first: date, last: date) -> None:
        self.zone = zone
        clock = ZoneInfo(zone)
        self._starts: dict[date, datetime] = {}
        instant = datetime(first.year, first.month, first.day, tzinfo=UTC) - 2 * A_DAY
        newest = instant.astimezone(clock).date()
        while newest <= last + A_DAY:
            # A skipped date begins, and ends, where the next one begins; clocks put back over midnight change nothing.
            while newest < instant.astimezone(clock).date():
                newest += A_DAY
                self._starts[newest] = instant
            instant += _STEP
        self._dates = list(self._starts)
        self._instants = list(self._starts.values())

    def start(self, day: date) -> datetime:
        return self._starts[day]

    def date_of(self, instant: datetime) -> date:
        return self._dates[bisect_right(self._instants, instant) - 1]

    def window(self, first: date, last: date) -> Window:
        """Return the days from one date to another, both inclusive."""
        start, end = self.start(first), self.start(last + A_DAY)
        return Window(start, end) if self.zone == "UTC" else LocalWindow(start, end, self.zone, (first, last))

    def month(self, day: date) -> Window:
        first = day.replace(day=1)
        return self.window(first, (first + 31 * A_DAY).replace(day=1) - A_DAY)

    def before(self, window: Window) -> Window:
        """Return as many months before whole months, as many days before other days; a skipped date is none."""
        last = window.first_day - A_DAY
        if window.is_aligned(Granularity.MONTH):
            first = window.first_day
            for _ in range(_months(window)):
                first = (first - A_DAY).replace(day=1)
            return self.window(first, last)
        # Of dates that begin at one instant only the last has been.
        days = list({start: day for day, start in self._starts.items()}.items())
        count = sum(window.start <= start < window.end for start, _ in days)
        first = [day for start, day in days if start < window.start][-count]
        return self.window(first, last)


def _months(window: Window) -> int:
    return 12 * (window.last_day.year - window.first_day.year) + window.last_day.month - window.first_day.month + 1
