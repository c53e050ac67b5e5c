"""What has to be closed becomes few, bounded ranges."""

from datetime import date, timedelta

from analytics_pipeline.orchestration.closing.ranges import RangeToClose, cut_range, group_ranges, join_ranges
from analytics_pipeline.windows import Granularity, Window, join_windows, without_windows
from analytics_pipeline_tests.events_factory import at

YEAR = Window.of_dates(date(2025, 1, 1), date(2025, 12, 31))
HOURS, DAYS, MONTHS = "hourly_aggregates", "daily_aggregates", "monthly_aggregates"


def _days(first: int, end: int) -> Window:
    return Window(at(f"2025-01-{first:02}T00:00"), at(f"2025-01-{end:02}T00:00"))


def _hours(*numbers: int) -> list[Window]:
    starts = [YEAR.start + timedelta(hours=number) for number in numbers]
    return [Window(start, start + timedelta(hours=1)) for start in starts]


def _join(ranges: list[RangeToClose], *closable: Window, at_most: int = 10) -> list[Window]:
    stretches = list(closable) or [YEAR]
    joined = join_ranges(ranges, dict.fromkeys(("a", "b"), stretches), at_most)
    wanted = join_windows(each.window for each in ranges)
    assert without_windows(wanted, [each.window for each in joined]) == [], "something is left out"
    return [each.window for each in joined]


def test_assets_share_a_run_exactly_where_they_share_its_partitions() -> None:
    assert group_ranges(DAYS, {"a": [_days(4, 6), _days(10, 11)], "b": [_days(4, 7)]}) == [
        RangeToClose(DAYS, ("a", "b"), _days(4, 6)),
        RangeToClose(DAYS, ("b",), _days(6, 7)),
        RangeToClose(DAYS, ("a",), _days(10, 11)),
    ]


def test_a_long_range_is_cut_into_bounded_runs_and_one_that_has_failed_into_smaller_ones() -> None:
    whole = RangeToClose(DAYS, ("a",), YEAR)
    for attempts, days in ((0, [92, 92, 92, 89]), (1, [*[10] * 36, 5]), (2, [1] * 365)):
        pieces = [part.window for part in cut_range(whole, attempts)]
        assert [piece.count(Granularity.DAY) for piece in pieces] == days
        assert without_windows([YEAR], pieces) == []


def test_ranges_are_joined_over_what_is_closed_as_long_as_that_costs_less_than_a_run() -> None:
    ranges = group_ranges(HOURS, {"a": _hours(0, 101, 203)})
    assert _join(ranges) == [Window(YEAR.start, _hours(101)[0].end), *_hours(203)]
    # Of two assets half as many hours.
    ranges = group_ranges(HOURS, {"a": _hours(0, 50), "b": _hours(50, 101)})
    assert _join(ranges) == [Window(YEAR.start, _hours(50)[0].end), *_hours(101)]


def test_nothing_that_has_to_wait_is_reached_over() -> None:
    waiting = _hours(5)
    ranges = group_ranges(HOURS, {"a": _hours(0, 4, 6, 9)})
    assert _join(ranges, *without_windows([YEAR], waiting)) == [
        Window(YEAR.start, waiting[0].start),
        Window(waiting[0].end, _hours(9)[0].end),
    ]


def test_where_more_would_be_left_than_is_asked_for_at_once_the_nearest_are_joined_further() -> None:
    every_week = _hours(*range(0, 365 * 24, 7 * 24))
    joined = _join(group_ranges(HOURS, {"a": every_week}))
    assert len(joined) <= 10
    assert all(window.count(Granularity.HOUR) <= 92 * 24 for window in joined)


def test_months_are_left_as_they_are() -> None:
    """The reports of a month that is closed again are made anew."""
    months = [Window.of_month(date(2025, month, 1)) for month in (1, 3, 4, 12)]
    ranges = group_ranges(MONTHS, {"a": months})
    assert join_ranges(ranges, {"a": [YEAR]}, at_most=1) == ranges


def test_a_year_of_scattered_hours_is_joined_at_once() -> None:
    assert len(_join(group_ranges(HOURS, {"a": _hours(*range(0, 8760, 3)), "b": _hours(*range(1, 8760, 5))}))) <= 10
