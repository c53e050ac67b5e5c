"""The sample as a whole: checked parameters, one simulated day after the other, lines and rates in files."""

import gzip
import json
import math
from collections.abc import Iterable, Iterator
from datetime import MAXYEAR, date, timedelta
from io import BufferedWriter
from pathlib import Path
from random import Random
from typing import BinaryIO, cast

from analytics_pipeline.errors import AnalyticsError, ArgumentError
from analytics_pipeline.sample.company import Company, Today
from analytics_pipeline.sample.market import Market
from analytics_pipeline.sample.profiles import COMPANIES
from analytics_pipeline.sample.stream import SampleEvent, Stream

FIRST_YEAR = 1970
LONGEST_PLAN_YEARS = 2
COMPRESSION_LEVEL = 6
WRITE_BUFFER = 1 << 18


def generate_events(*, seed: int, start: date, months: int, companies: int, scale: float) -> Iterator[SampleEvent]:
    """Return the sample's events in the order in which they arrive.

    Events are dated from ``start`` (the first of a month) up to, not including, the same day ``months``
    later; only arrivals go beyond. ``companies`` tenants are simulated, and ``scale`` multiplies their
    customers: 13 months of 5 companies at scale 1 are about 250,000 events. Equal parameters give equal
    events; a company's events do not depend on how many other companies there are. An event that arrives
    twice is yielded as the same object, so events are to be read, not changed. What is kept in memory are
    the customers and what is still to arrive.

    Raises ``AnalyticsError`` when a parameter is out of bounds, before the first event is made.
    """
    end = _checked_end(start, months, companies, scale)
    return _simulate(seed, start, end, companies, scale)


def write_sample(path: Path, *, seed: int, start: date, months: int, companies: int, scale: float) -> int:
    """Write the events as JSON Lines, compressed if the name ends in ``.gz``, and return their number.

    The compressed file holds neither name nor time: equal parameters give equal bytes (with the same zlib).
    Raises ``AnalyticsError`` when a parameter is out of bounds or the file cannot be written.
    """
    events = generate_events(seed=seed, start=start, months=months, companies=companies, scale=scale)
    try:
        with path.open("wb") as file:
            if path.suffix != ".gz":
                return write_lines(events, file)
            with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, file, mtime=0) as compressed:
                buffered = BufferedWriter(compressed, WRITE_BUFFER)
                count = write_lines(events, cast(BinaryIO, buffered))
                buffered.flush()
                return count
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_rates(path: Path, *, seed: int, start: date, months: int, until: date | None = None) -> None:
    """Write the prices behind the events of the same parameters as a CSV of rates.

    One rate a day of EUR/USD, BTC/EUR and ETH/EUR, from the first day of the events to their last, or to ``until`` if
    that is later: what is subscribed goes on after the last event. Raises ``AnalyticsError`` when a parameter is out of
    bounds or the file cannot be written.
    """
    end = _checked_span(start, months)
    if until is not None:
        end = max(end, until + timedelta(days=1))
    market = _market(seed)
    try:
        with path.open("w", encoding="ascii", newline="\n") as file:
            file.write("rate_date,base,quote,rate\n")
            day = start
            while day < end:
                for base, quote, rate in market.rates():
                    file.write(f"{day},{base},{quote},{rate}\n")
                market.next_day()
                day += timedelta(days=1)
    except OSError as error:
        raise _cannot_write(path, error) from error


def company_ids(companies: int) -> list[str]:
    """Return the ids of so many tenants, the first of which are in every sample of more."""
    return [_company_id(number) for number in range(companies)]


def write_lines(events: Iterable[SampleEvent], file: BinaryIO) -> int:
    """Write one JSON object a line and return the number of lines."""
    encode = json.JSONEncoder(separators=(",", ":")).encode
    count = 0
    for event in events:
        file.write(encode(event).encode("ascii") + b"\n")
        count += 1
    return count


def _cannot_write(path: Path, error: OSError) -> AnalyticsError:
    return AnalyticsError(f"Cannot write {path}: {error.strerror}; name a file in a writable folder.")


def _checked_end(start: date, months: int, companies: int, scale: float) -> date:
    end = _checked_span(start, months)
    if companies < 1:
        raise ArgumentError(f"The number of companies must be at least 1, not {companies}.")
    if not (math.isfinite(scale) and scale > 0):
        raise ArgumentError(f"The scale must be a number above 0, not {scale}.")
    return end


def _checked_span(start: date, months: int) -> date:
    if start.day != 1:
        raise ArgumentError(f"The sample must start on the first day of a month, not on {start}.")
    if start.year < FIRST_YEAR:
        raise ArgumentError(f"The sample must start in {FIRST_YEAR} or later, not on {start}.")
    if months < 1:
        raise ArgumentError(f"The number of months must be at least 1, not {months}.")
    years, month = divmod(start.month - 1 + months, 12)
    if start.year + years + LONGEST_PLAN_YEARS >= MAXYEAR:
        raise ArgumentError(f"{months} months from {start} end after the last year of the calendar; ask for fewer.")
    return date(start.year + years, month + 1, 1)


def _simulate(seed: int, start: date, end: date, companies: int, scale: float) -> Iterator[SampleEvent]:
    stream = Stream(end=end)
    market = _market(seed)
    tenants = [_company(seed, number, scale, stream) for number in range(companies)]
    day = start
    while day < end:
        today = Today.of(day, start)
        for tenant in tenants:
            tenant.live_through(today, market)
        market.next_day()
        yield from stream.arrived_on(today.day)
        day += timedelta(days=1)
    yield from stream.rest()


def _market(seed: int) -> Market:
    return Market(_random(seed, "market"))


def _company(seed: int, number: int, scale: float, stream: Stream) -> Company:
    profile, company_id = COMPANIES[number % len(COMPANIES)], _company_id(number)
    return Company(company_id, profile, scale, _random(seed, company_id), stream)


def _company_id(number: int) -> str:
    round_, place = divmod(number, len(COMPANIES))
    slug = COMPANIES[place].slug
    return slug if round_ == 0 else f"{slug}-{round_ + 1}"


def _random(seed: int, purpose: str) -> Random:
    """Return random numbers of their own for each purpose; a text seed does not depend on hash seeds."""
    return Random(f"{seed}/{purpose}")  # noqa: S311 - invents sample data, protects nothing
