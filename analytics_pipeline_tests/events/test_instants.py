"""Instants are read as exporters write them, to the microsecond, in UTC; what is adjusted is counted."""

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.instants import CUT, LEAP_SECOND, to_instant, zone_named
from analytics_pipeline.intake.rejection import RejectedEvent

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
BERLIN = zone_named("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2016-07-05 23:56:17.309+00", datetime(2016, 7, 5, 23, 56, 17, 309000, UTC)),
        ("2026-01-15 12:00:00+05:30", datetime(2026, 1, 15, 6, 30, tzinfo=UTC)),
        ("2026-01-15 12:00:00 UTC", NOON),
        ("2026-01-15 12:00:00.120000 UTC", NOON + timedelta(microseconds=120_000)),
        ("2026-01-15 12:00:00 +0000", NOON),
        ("2026-01-15 13:00:00 +0100 CET", NOON),
        ("2026-01-15 12:00:00 +0000 UTC", NOON),
        ("2026-01-15t12:00:00z", NOON),
        ("2026-01-15T12:00Z", NOON),
        ("2026-01-15T13:00:00+01:00[Europe/Berlin]", NOON),
        ("2026-01-15T12:00:00,5Z", NOON + timedelta(microseconds=500_000)),
        ("2026-01-15T12:00:00-00", NOON),
        ("1971-06-01 12:00:00-00:44:30", datetime(1971, 6, 1, 12, 44, 30, tzinfo=UTC)),
        ("2026-01-15T24:00:00Z", NOON + timedelta(hours=12)),
        ("2026-01-15T24:00Z", NOON + timedelta(hours=12)),
        ("2025-12-31T24:00:00.000+01:00", datetime(2025, 12, 31, 23, tzinfo=UTC)),
    ],
)
def test_forms_of_exporters_name_the_instant_they_mean(text: str, instant: datetime) -> None:
    adjusted: Counter[str] = Counter()
    assert to_instant(text, adjusted=adjusted) == instant
    assert to_instant(text).tzinfo is UTC
    assert adjusted.total() == 0


@pytest.mark.parametrize(
    ("text", "instant", "counted"),
    [
        ("2026-01-15T12:00:00.1234567Z", NOON + timedelta(microseconds=123_456), CUT),
        ("2026-01-15T12:00:00.123456789Z", NOON + timedelta(microseconds=123_456), CUT),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC), LEAP_SECOND),
        ("2017-01-01T05:29:60.25+05:30", datetime(2017, 1, 1, 0, 0, 0, 250_000, UTC), LEAP_SECOND),
    ],
)
def test_what_is_adjusted_is_counted(text: str, instant: datetime, counted: str) -> None:
    adjusted: Counter[str] = Counter()
    assert to_instant(text, adjusted=adjusted) == instant
    assert +adjusted == {counted: 1}


def test_zeros_below_a_microsecond_are_no_digits() -> None:
    adjusted: Counter[str] = Counter()
    assert to_instant("2026-01-15T12:00:00.000000000Z", adjusted=adjusted) == NOON
    assert adjusted.total() == 0


def test_a_zone_is_assumed_only_where_it_is_named() -> None:
    for naive in ("2026-01-15 13:00:00", "2026-01-15T13:00", datetime(2026, 1, 15, 13)):  # noqa: DTZ001
        with pytest.raises(RejectedEvent, match=r"has no time zone: .*--assume-zone"):
            to_instant(naive)
        assert to_instant(naive, BERLIN) == NOON
    assert to_instant("2026-01-15 12:00:00Z", BERLIN) == NOON, "what is said counts"
    with pytest.raises(RejectedEvent, match="no time zone"):
        to_instant("2026-01-15")
    with pytest.raises(RejectedEvent, match="ISO 8601"):
        to_instant("2026-01-15", BERLIN)
    with pytest.raises(AnalyticsError, match="'Berlin' is not a time zone"):
        zone_named("Berlin")


@pytest.mark.parametrize(("text", "words"), [("2025-10-26 02:30:00", "twice"), ("2025-03-30 02:30:00", "never")])
def test_a_local_time_that_is_no_one_instant_is_rejected(text: str, words: str) -> None:
    with pytest.raises(RejectedEvent, match=f"happened {words} in Europe/Berlin"):
        to_instant(text, BERLIN)
    assert to_instant(f"{text}+02:00", BERLIN)


@given(
    st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001 - the zone follows
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(["T", "t", " "]),
    st.sampled_from(["", " "]),
    st.integers(6, 9),
)
def test_any_instant_is_read_back_from_any_form(
    local: datetime, minutes: int, separator: str, blank: str, digits: int
) -> None:
    zone = timezone(timedelta(minutes=minutes))
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    fraction = f"{local.microsecond:06}".ljust(digits, "0")
    text = f"{local:%Y-%m-%d}{separator}{local:%H:%M:%S}.{fraction}{blank}{sign}{hours:02}{rest:02}"
    assert to_instant(text) == local.replace(tzinfo=zone)
