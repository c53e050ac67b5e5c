"""CSV into rates: one rate a line, or the ECB's table of one day a line, of the history or of the day."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from io import BytesIO

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.fx.ecb_xml import ECB_BASE, is_xml, read_ecb_xml
from analytics_pipeline.fx.exchange_rates import Rate, RateFields, parse_date, parse_rate
from analytics_pipeline.fx.rate_sources import fetch, source_name
from analytics_pipeline.intake.bounded_lines import bounded_lines
from analytics_pipeline.intake.csv_cells import Line, cells_of, check_count, is_blank, line_text
from analytics_pipeline.intake.rejection import RejectedEvent, shown
from analytics_pipeline.intake.rejects import REJECTS_KEPT, Reject, RejectLimit, storable
from analytics_pipeline.timescale.clock import machine_now

COLUMNS = Rate._fields
# The day's table of the ECB writes 27 November 2026, in English wherever it is read.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_is_ecb_day = re.compile(r"([0-9]{1,2}) ([A-Z][a-z]+) ([0-9]{4})").fullmatch
_NO_RATE = ("", "N/A")
_KEPT_CHARACTERS = 1000

# A line with the texts of its rates, or why it has none and its own text.
_Row = tuple[int, list[RateFields] | RejectedEvent, str]
# Each rate of a day and pair with its line.
_Seen = dict[tuple[date, str, str], tuple[Rate, int]]


@dataclass(slots=True)
class Reading:
    """What a source holds: its rates, each once, and what was rejected, with the reasons counted by kind.

    Of ``rejects`` there are as many as the ``limit`` keeps. ``read`` counts the rates and the rejects, and a rate that
    stands there twice two times.
    """

    source: str
    read: int = 0
    rates: list[Rate] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    limit: RejectLimit = field(default_factory=RejectLimit)
    reasons: Counter[str] = field(default_factory=Counter)


def read_source(source: str, *, today: date | None = None, rejects_kept: int = REJECTS_KEPT) -> Reading:
    """Fetch a source (see ``sources.fetch``) and return its rates; the rest as for ``read_rates``.

    Raises ``AnalyticsError`` for a source that is unreadable as a whole.
    """
    return read_rates(fetch(source), source_name(source), today=today, rejects_kept=rejects_kept)


def read_rates(content: bytes, name: str, *, today: date | None = None, rejects_kept: int = REJECTS_KEPT) -> Reading:
    """Return the rates of a CSV text, or of a table of the ECB in XML; ``name`` is what errors and rejects call it.

    ``today`` (UTC) bounds the future: the database's day; default: this machine's. Of each kind of reason
    ``rejects_kept`` rejects are kept. Raises ``AnalyticsError`` if the
    header is of neither layout, or the XML no such table.
    """
    today = today or machine_now().date()
    reading = Reading(name, limit=RejectLimit(rejects_kept))
    seen: _Seen = {}
    for number, given, text in _xml_rows(content, name) if is_xml(content) else _csv_rows(content, name):
        if isinstance(given, RejectedEvent):
            reading.read += 1
            _reject(reading, number, text, given)
            continue
        reading.read += len(given)
        for fields in given:
            try:
                _add(seen, parse_rate(*fields, today=today), number)
            except RejectedEvent as rejection:
                _reject(reading, number, ",".join(fields), rejection)
    reading.rates = [rate for rate, _ in seen.values()]
    return reading


def _xml_rows(content: bytes, name: str) -> Iterator[_Row]:
    for number, given in read_ecb_xml(content, name):
        yield number, given, ""


def _csv_rows(content: bytes, name: str) -> Iterator[_Row]:
    lines = enumerate(bounded_lines(BytesIO(content)), start=1)
    spread = _layout(_header(lines, name), name)
    for number, line in lines:
        if is_blank(line):
            continue
        try:
            yield number, spread(cells_of(line)), ""
        except RejectedEvent as rejection:
            yield number, rejection, line_text(line)


def _add(seen: _Seen, rate: Rate, line: int) -> None:
    first, its_line = seen.setdefault(rate[:3], (rate, line))
    if first.rate != rate.rate:
        raise RejectedEvent(
            "two rates for one day",
            f"rate {rate.rate} contradicts line {its_line}, where one {rate.base} costs {first.rate} {rate.quote} on "
            f"{rate.rate_date}: keep one.",
        )


def _reject(reading: Reading, line: int, text: str, rejection: RejectedEvent) -> None:
    kept = storable(text)[:_KEPT_CHARACTERS]
    reject = Reject(reading.source, line, rejection.kind, rejection.reason, None, kept)
    if reading.limit.keeps(reject):
        reading.rejects.append(reject)
    reading.reasons[rejection.kind] += 1


def _header(lines: Iterator[tuple[int, Line]], name: str) -> list[str]:
    try:
        return next((cells_of(line) for _, line in lines if not is_blank(line)), [])
    except RejectedEvent as error:
        raise AnalyticsError(f"{name} has no readable CSV header: {error}") from error


def _layout(header: list[str], name: str) -> Callable[[list[str]], list[RateFields]]:
    """Return what makes a line's cells the texts of its rates."""
    if sorted(header) == sorted(COLUMNS):
        places = [header.index(column) for column in COLUMNS]

        def one_rate(cells: list[str]) -> list[RateFields]:
            check_count(cells, header)
            rate_date, base, quote, rate = (cells[place] for place in places)
            return [(rate_date, base, quote, rate)]

        return one_rate
    if header[:1] == ["Date"]:

        def one_day(cells: list[str]) -> list[RateFields]:
            check_count(cells, header)
            day = _iso_day(cells[0])
            # Once for all rates of the line.
            parse_date(day)
            return [
                (day, ECB_BASE, currency, cell)
                for currency, cell in zip(header[1:], cells[1:], strict=True)
                # The ECB ends its lines with a comma.
                if currency and cell not in _NO_RATE
            ]

        return one_day
    raise AnalyticsError(
        f"{name} has the header {shown(','.join(header))}: rates have the columns {', '.join(COLUMNS)}, or those of "
        "the ECB's table, Date and one column a currency."
    )


def _iso_day(text: str) -> str:
    """Return the day of a line of the ECB as ISO text, or what is none as it is."""
    match = _is_ecb_day(text)
    if match is None or match[2] not in _MONTHS:
        return text
    return f"{match[3]}-{_MONTHS.index(match[2]) + 1:02d}-{int(match[1]):02d}"
