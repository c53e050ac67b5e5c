"""CSV into rates: one rate a line, or the ECB's table of one day a line.

Belongs here: lines, cells, the two layouts. Does not belong here: the rules of a rate (``rates``).
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from io import BytesIO

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.lines import LongLine, bounded_lines, decode_line
from analytics_pipeline.events.records import storable
from analytics_pipeline.events.rejection import RejectedEvent, shown
from analytics_pipeline.events.rejects import Reject
from analytics_pipeline.fx.rates import Rate, parse_date, parse_rate
from analytics_pipeline.fx.sources import fetch, source_name
from analytics_pipeline.timescale.clock import machine_now

COLUMNS = Rate._fields
# The reference rates of the European Central Bank are units of a currency for one euro.
_ECB_BASE = "EUR"
_NO_RATE = ("", "N/A")
_KEPT_CHARACTERS = 1000

_Fields = tuple[str, str, str, str]
# Each rate of a day and pair with its line.
_Seen = dict[tuple[date, str, str], tuple[Rate, int]]


@dataclass(slots=True)
class Reading:
    """What a source holds: its rates, each once, and what was turned away, with the reasons counted by kind.

    ``read`` counts the rates and the rejects, and a rate that stands there twice two times.
    """

    source: str
    read: int = 0
    rates: list[Rate] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


def read_source(source: str, *, today: date | None = None) -> Reading:
    """Fetch a source (see ``sources.fetch``) and return its rates; ``today`` as for ``read_rates``.

    Raises ``AnalyticsError`` for a source that is unreadable as a whole.
    """
    return read_rates(fetch(source), source_name(source), today=today)


def read_rates(content: bytes, name: str, *, today: date | None = None) -> Reading:
    """Return the rates of a CSV text; ``name`` is what errors and rejects call it.

    ``today`` (UTC) bounds the future: the database's day; default: this machine's. Raises ``AnalyticsError`` if the
    header is of neither layout.
    """
    lines = enumerate(bounded_lines(BytesIO(content)), start=1)
    spread = _layout(_header(lines, name), name)
    today = today or machine_now().date()
    reading = Reading(name)
    seen: _Seen = {}
    for number, line in lines:
        if _is_blank(line):
            continue
        try:
            given = spread(_cells(line))
        except RejectedEvent as rejection:
            reading.read += 1
            text = line.beginning if isinstance(line, LongLine) else line
            _reject(reading, number, text.decode("utf-8", "backslashreplace").rstrip("\r\n"), rejection)
            continue
        reading.read += len(given)
        for fields in given:
            try:
                _add(seen, parse_rate(*fields, today=today), number)
            except RejectedEvent as rejection:
                _reject(reading, number, ",".join(fields), rejection)
    reading.rates = [rate for rate, _ in seen.values()]
    return reading


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
    reading.rejects.append(Reject(reading.source, line, rejection.kind, rejection.reason, None, kept))
    reading.reasons[rejection.kind] += 1


def _is_blank(line: bytes | LongLine) -> bool:
    return line.is_blank if isinstance(line, LongLine) else line.isspace()


def _header(lines: Iterator[tuple[int, bytes | LongLine]], name: str) -> list[str]:
    try:
        return next((_cells(line) for _, line in lines if not _is_blank(line)), [])
    except RejectedEvent as error:
        raise AnalyticsError(f"{name} has no readable CSV header: {error}") from error


def _layout(header: list[str], name: str) -> Callable[[list[str]], list[_Fields]]:
    """Return what makes a line's cells the texts of its rates."""
    if sorted(header) == sorted(COLUMNS):
        places = [header.index(column) for column in COLUMNS]

        def one_rate(cells: list[str]) -> list[_Fields]:
            _check_count(cells, header)
            rate_date, base, quote, rate = (cells[place] for place in places)
            return [(rate_date, base, quote, rate)]

        return one_rate
    if header[:1] == ["Date"]:

        def one_day(cells: list[str]) -> list[_Fields]:
            _check_count(cells, header)
            # Once for all rates of the line.
            parse_date(cells[0])
            return [
                (cells[0], _ECB_BASE, currency, cell)
                for currency, cell in zip(header[1:], cells[1:], strict=True)
                # The ECB ends its lines with a comma.
                if currency and cell not in _NO_RATE
            ]

        return one_day
    raise AnalyticsError(
        f"{name} has the header {shown(','.join(header))}: rates have the columns {', '.join(COLUMNS)}, or those of "
        "the ECB's table, Date and one column a currency."
    )


def _check_count(cells: list[str], header: list[str]) -> None:
    if len(cells) != len(header):
        raise RejectedEvent(
            "wrong number of cells",
            f"{len(cells)} cells where the header has {len(header)}: check commas and quotes.",
        )


def _cells(line: bytes | LongLine) -> list[str]:
    """Return the cells of a line without the blanks around them; no cell of a rate holds a line break."""
    if isinstance(line, LongLine):
        raise line.rejection
    try:
        row = next(csv.reader([decode_line(line)], strict=True), [])
    except csv.Error as error:
        raise RejectedEvent("not CSV", f"not CSV: {error}; check the quotes.") from error
    return [cell.strip() for cell in row]
