"""Control totals: what is recorded of a month beside what the ERP, or a payment provider, says of it.

Sums are exact. The ERP adds up its own rows; only of days that differ are the rows read, to name their events.
"""

import csv
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql

from analytics_pipeline.currencies import EXACT
from analytics_pipeline.erp.reader import ErpDatabase, Row
from analytics_pipeline.erp.rows import event_id_of, parse_row
from analytics_pipeline.erp.source_columns import KEY, require_columns, select_list
from analytics_pipeline.erp.source_files import ErpSource
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.aliases import Aliases, load_aliases
from analytics_pipeline.events.erased import load_erased
from analytics_pipeline.events.ids import visible_id
from analytics_pipeline.events.model import Parsing
from analytics_pipeline.intake.exact_numbers import to_amount
from analytics_pipeline.intake.rejection import RejectedEvent, shown
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import expired_events
from analytics_pipeline.windows import Window

# What a payment provider's totals are about.
PAYMENTS = ("payment.received", "payment.refunded")
COLUMNS = ("company", "day", "currency", "count", "sum")
# Of more rows than that on the days that differ no event is named.
_MAX_ROWS = 100_000
_MAX_TYPES = 1_000
_MAX_DIGITS = 18


class TotalKey(NamedTuple):
    """What a total is of; the day is UTC, the currency empty for events without one."""

    company_id: str
    day: date
    currency: str


class Total(NamedTuple):
    """How many, and their exact sum, refunds and credits negative."""

    number: int
    amount: Decimal


NOTHING = Total(0, Decimal(0))
Totals = Mapping[TotalKey, Total]


@dataclass(frozen=True, slots=True)
class DifferingEvent:
    """An event that is not the same on both sides: its id, the row's key in the source (None: it has none), and how."""

    event_id: UUID
    source_key: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A total that differs: as the other side has it, as it is recorded, and the events that make it differ.

    ``events`` is None where they are not known: totals have none, or there are too many.
    """

    key: TotalKey
    expected: Total
    recorded: Total
    events: Sequence[DifferingEvent] | None = None


@dataclass(frozen=True, slots=True)
class ControlTotals:
    """The comparison of a month with ``against``, a source or a file: the totals compared, and those that differ."""

    month: Window
    against: str
    event_types: Sequence[str]
    compared: int
    expected: Mapping[str, Total]
    recorded: Mapping[str, Total]
    differences: Sequence[Difference]


def reconcile_source(connection: Connection, erp: ErpDatabase, source: ErpSource, month: Window) -> ControlTotals:
    """Compare the events of a calendar month (UTC) with the rows of a source, by the types of event that it has.

    Every recorded event of these types counts, however it came in. Autocommit connection. Raises ``AnalyticsError``
    for a source that can't be read, and for a month whose raw events have expired.
    """
    _require_events(connection, month)
    columns = erp.columns(source)
    require_columns(source, columns)
    names = {column.name for column in columns}
    aliases, erased = load_aliases(connection), load_erased(connection)
    span: dict[str, Any] = {"start": month.start, "end": month.end}
    rows = [
        row
        for row in erp.read_source(source, "erp_totals", columns=_totalled(names), **span)
        # Of an erased company nothing is recorded.
        if not erased.is_erased(_company(row["company_id"], aliases))
    ]
    # Of the whole source: a month may have events of a type of which it has no row.
    types = {row["event_type"] for row in erp.read_source(source, "erp_event_types", rows=_MAX_TYPES)}
    expected: defaultdict[TotalKey, Total] = defaultdict(lambda: NOTHING)
    for row in rows:
        key = TotalKey(_company(row["company_id"], aliases), row["day"], row["currency"] or "")
        expected[key] = _added(expected[key], Total(row["number"], Decimal(row["sum"] or 0)))
    recorded = _recorded(connection, month, types, None)
    differing = _differing(expected, recorded)
    differences = [Difference(key, expected.get(key, NOTHING), recorded.get(key, NOTHING)) for key in differing]
    if differing and sum(each.expected.number + each.recorded.number for each in differences) <= _MAX_ROWS:
        days = sorted({key.day for key in differing})
        raw = sorted({row["company_id"] for row in rows if row["day"] in days})
        wanted = {"days": days, "companies": raw, "rows": _MAX_ROWS, **span}
        found = erp.read_source(source, "erp_rows_of_days", columns=select_list(source, columns), **wanted)
        differences = _named(connection, source, found, Parsing(aliases=aliases), month, types, differing)
    return _compared(month, source.name, types, expected, recorded, differences)


def reconcile_totals(
    connection: Connection, totals: Totals, against: str, month: Window, event_types: Collection[str] = PAYMENTS
) -> ControlTotals:
    """Compare the events of a calendar month (UTC), of some types, with totals that somebody else has added up.

    Only companies that the totals name are compared, in every currency and on every day of the month.
    """
    _require_events(connection, month)
    recorded = _recorded(connection, month, event_types, {key.company_id for key in totals})
    differences = [
        Difference(key, totals.get(key, NOTHING), recorded.get(key, NOTHING)) for key in _differing(totals, recorded)
    ]
    return _compared(month, against, event_types, totals, recorded, differences)


def read_totals(path: Path, month: Window) -> dict[TotalKey, Total]:
    """Return the totals of a CSV file with the columns company, day, currency, count, sum; days are UTC.

    Raises ``AnalyticsError`` naming file, line and remedy for anything that is no total of the month.
    """
    found: dict[TotalKey, tuple[Total, int]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise AnalyticsError(
                    f"{path.name} has no column {missing[0]}: its first line names {', '.join(COLUMNS)}."
                )
            for line in reader:
                where = f"{path.name}, line {reader.line_num}"
                if None in line:
                    raise AnalyticsError(f"{where} has more values than the first line: write a sum like 1523.40.")
                key, total = _total_of(line, where, month)
                if key in found:
                    raise AnalyticsError(f"{where}: company, day and currency are those of line {found[key][1]}, too.")
                found[key] = total, reader.line_num
    except OSError as error:
        raise AnalyticsError(f"Can't read {path}: {error.strerror}.") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise AnalyticsError(f"{path.name} is no CSV file in UTF-8: {error}.") from error
    # Nothing compared is nothing proved.
    if not found:
        raise AnalyticsError(f"{path.name} has no totals below its first line.")
    return {key: total for key, (total, _) in found.items()}


def _total_of(line: Mapping[str, str | None], where: str, month: Window) -> tuple[TotalKey, Total]:
    text = {name: (line.get(name) or "").strip() for name in COLUMNS}
    if not text["company"]:
        raise AnalyticsError(f"{where}: the company is empty.")
    try:
        day = date.fromisoformat(text["day"])
    except ValueError as error:
        raise AnalyticsError(f"{where}: the day {shown(text['day'])} is none: write it like 2026-10-31.") from error
    if not month.start.date() <= day <= month.last_day:
        raise AnalyticsError(f"{where}: {day} is not in {month.start:%Y-%m}: choose the month of the file.")
    if not (text["count"].isascii() and text["count"].isdecimal() and len(text["count"]) <= _MAX_DIGITS):
        raise AnalyticsError(f"{where}: the count {shown(text['count'])} is no whole number.")
    if "," in text["sum"]:
        raise AnalyticsError(f"{where}: the sum {shown(text['sum'])} has a comma: write it like 1523.40.")
    try:
        amount = to_amount(text["sum"], "sum")
    except RejectedEvent as error:
        raise AnalyticsError(f"{where}: {error.reason}") from error
    return TotalKey(text["company"], day, text["currency"]), Total(int(text["count"]), amount)


def _require_events(connection: Connection, month: Window) -> None:
    if expired := [stretch for stretch in expired_events(connection) if stretch.overlaps(month)]:
        raise AnalyticsError(
            f"Raw events before {expired[-1].end:%Y-%m-%d} have expired: {month.start:%Y-%m} can't be compared any "
            "more."
        )


def _totalled(names: Collection[str]) -> sql.Composed:
    """Return the columns of ``erp_totals`` that a source may leave out."""
    currency, value = (
        sql.SQL("source.{}").format(sql.Identifier(name)) if name in names else sql.SQL("NULL")
        for name in ("currency", "value")
    )
    return sql.SQL("({})::text AS currency, sum(({})::numeric) AS sum").format(currency, value)


def _company(raw: str, aliases: Aliases) -> str:
    """Return the id under which events of the company are stored."""
    present: str = aliases.company(visible_id(raw))
    return present


def _recorded(
    connection: Connection, month: Window, event_types: Collection[str], companies: Collection[str] | None
) -> dict[TotalKey, Total]:
    parameters = {
        "start": month.start,
        "end": month.end,
        "types": sorted(event_types),
        "companies": None if companies is None else sorted(companies),
    }
    rows = connection.execute(load_query("recorded_totals"), parameters)
    return {TotalKey(company, day, currency): Total(number, amount) for company, day, currency, number, amount in rows}


def _differing(expected: Totals, recorded: Totals) -> list[TotalKey]:
    keys = expected.keys() | recorded.keys()
    return sorted(key for key in keys if expected.get(key, NOTHING) != recorded.get(key, NOTHING))


class _Side(NamedTuple):
    """An event on one side: its total's key, its amount, and the row's key where it is a row."""

    key: TotalKey
    value: Decimal
    source_key: str | None


def _named(
    connection: Connection,
    source: ErpSource,
    rows: Iterable[Row],
    parsing: Parsing,
    month: Window,
    event_types: Collection[str],
    differing: Sequence[TotalKey],
) -> list[Difference]:
    """Return the totals that differ of the days on which some do, by their events; a row that is none is named."""
    expected: dict[UUID, _Side] = {}
    rejected: dict[UUID, tuple[_Side, str]] = {}
    for row in rows:
        event_id = event_id_of(source.name, row[KEY])
        try:
            event = parse_row(source.name, row, parsing=parsing)
        except RejectedEvent as rejection:
            company = _company(row["company_id"] or "", parsing.aliases)
            key = TotalKey(company, row["timestamp"].astimezone(UTC).date(), row.get("currency") or "")
            rejected[event_id] = _Side(key, Decimal(row.get("value") or 0), row[KEY]), rejection.reason
            continue
        key = TotalKey(event.company_id, event.timestamp.date(), event.currency or "")
        expected[event_id] = _Side(key, event.value or Decimal(0), row[KEY])
    parameters = {
        "start": month.start,
        "end": month.end,
        "types": sorted(event_types),
        "days": sorted({key.day for key in differing}),
    }
    recorded = {
        event_id: _Side(TotalKey(company, day, currency), value, None)
        for event_id, company, day, currency, value in connection.execute(load_query("recorded_of_days"), parameters)
    }
    events: defaultdict[TotalKey, list[DifferingEvent]] = defaultdict(list)
    for event_id, (side, reason) in rejected.items():
        events[side.key].append(DifferingEvent(event_id, side.source_key, f"is no event: {reason}"))
    for event_id in sorted(expected.keys() | recorded.keys()):
        there, here = expected.get(event_id), recorded.get(event_id)
        if there is None and here is not None:
            events[here.key].append(DifferingEvent(event_id, None, "is recorded, and no row of the source"))
        elif here is None and there is not None:
            events[there.key].append(DifferingEvent(event_id, there.source_key, "is not recorded on this day"))
        elif there is not None and here is not None and there[:2] != here[:2]:
            text = f"is recorded with {_told(here)}, and the row says {_told(there)}"
            for key in dict.fromkeys((there.key, here.key)):
                events[key].append(DifferingEvent(event_id, there.source_key, text))
    there_totals = _added_up([*expected.values(), *(side for side, _ in rejected.values())])
    here_totals = _added_up(recorded.values())
    # Equal totals may hide two events that differ.
    keys = sorted({*_differing(there_totals, here_totals), *events})
    return [
        Difference(key, there_totals.get(key, NOTHING), here_totals.get(key, NOTHING), tuple(events[key]))
        for key in keys
    ]


def _told(side: _Side) -> str:
    return f"{side.value:f} {side.key.currency}".rstrip() + f" on {side.key.day} for {side.key.company_id}"


def _added_up(sides: Iterable[_Side]) -> dict[TotalKey, Total]:
    totals: defaultdict[TotalKey, Total] = defaultdict(lambda: NOTHING)
    for side in sides:
        totals[side.key] = _added(totals[side.key], Total(1, side.value))
    return dict(totals)


def _added(one: Total, other: Total) -> Total:
    # They may have more digits than a Decimal keeps by default.
    return Total(one.number + other.number, EXACT.add(one.amount, other.amount))


def _compared(
    month: Window,
    against: str,
    event_types: Collection[str],
    expected: Totals,
    recorded: Totals,
    differences: Sequence[Difference],
) -> ControlTotals:
    return ControlTotals(
        month,
        against,
        sorted(event_types),
        len(expected.keys() | recorded.keys()),
        _by_currency(expected),
        _by_currency(recorded),
        differences,
    )


def _by_currency(totals: Totals) -> dict[str, Total]:
    found: defaultdict[str, Total] = defaultdict(lambda: NOTHING)
    for key, total in sorted(totals.items()):
        found[key.currency] = _added(found[key.currency], total)
    return dict(found)
