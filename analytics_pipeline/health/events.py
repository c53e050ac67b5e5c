"""The events themselves: types and categories, currencies, times. Whoever wrote them.

What is asked every hour is answered from the aggregates wherever they know it; raw events are only
looked at for a few days or at the ends of the index.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.events import rename
from analytics_pipeline.events.event_types import CATEGORIES, known_type
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation
from analytics_pipeline.health.freshness import CLOCK_TOLERANCE
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.invalidation import count_future_events
from analytics_pipeline.windows import midnight

# What a check of types covers: what arrived lately is what somebody can still fix.
TYPES_LOOK_BACK = timedelta(days=35)
# Raw events of the categories without an aggregate of their amounts.
RAW_LOOK_BACK = timedelta(days=7)
_MAX_LISTED = 10


@dataclass(frozen=True, slots=True)
class _Kind:
    category: str
    event_type: str
    events: int
    first: datetime
    last: datetime

    def __str__(self) -> str:
        days = f"{self.first:%Y-%m-%d} to {self.last:%Y-%m-%d}"
        return f"{self.event_type} in {self.category} ({self.events} events, {days})"


def known_event_types(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge types and categories of the last weeks against the catalogue.

    Types outside the catalogue are welcome, so they are a warning; an unknown category is in no figure, and a
    known type in another category is in the wrong ones.
    """
    rows = connection.execute(load_query("event_kinds"), {"look_back": TYPES_LOOK_BACK}).fetchall()
    kinds = [_Kind(*row) for row in rows]
    lost = [k for k in kinds if k.category not in CATEGORIES]
    misplaced = [k for k in kinds if k not in lost and (t := known_type(k.event_type)) and t.category != k.category]
    unknown = [k for k in kinds if k not in lost and known_type(k.event_type) is None]
    problems = []
    if lost:
        problems.append(
            Violation(
                f"events of unknown categories are in no figure: {_list(lost)}; known are {', '.join(CATEGORIES)}",
                _correction(lost[0], "category = '<one of the known>'"),
            )
        )
    if misplaced:
        right = known_type(misplaced[0].event_type)
        problems.append(
            Violation(
                f"known types stand in the wrong category, which counts or omits their amounts: {_list(misplaced)}",
                _correction(misplaced[0], f"category = '{right.category if right else ''}'"),
            )
        )
    if unknown:
        problems.append(
            Violation(
                f"types outside the catalogue are counted without rules for their amounts: {_list(unknown)}",
                "add them to analytics_pipeline/events/event_types.py, or fix the writer",
                Severity.WARNING,
            )
        )
    return CheckResult.judge(
        "known_event_types",
        EVENTS,
        problems,
        good=f"All {len(kinds)} kinds of events of the last {TYPES_LOOK_BACK.days} days are in the catalogue."
        if kinds
        else f"There are no events of the last {TYPES_LOOK_BACK.days} days.",
        metadata={
            "kinds of events": len(kinds),
            "kinds outside the catalogue": len(lost) + len(misplaced) + len(unknown),
            "unknown categories": [str(k) for k in lost],
            "known types in the wrong category": [str(k) for k in misplaced],
            "types outside the catalogue": [str(k) for k in unknown],
        },
        limits={
            "such kinds allowed": 0,
            "days looked at": TYPES_LOOK_BACK.days,
        },
    )


@dataclass(frozen=True, slots=True)
class _Amounts:
    company: str
    category: str
    currency: str | None
    events: int
    well_formed: bool | None

    def __str__(self) -> str:
        currency = "no currency" if self.currency is None else repr(self.currency)
        return f"{self.company}: {self.events} {self.category} events with {currency}"


def currencies_present(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge the currencies of all amounts: there, well formed, and one spelling each."""
    rows = connection.execute(load_query("event_currencies"), {"look_back": RAW_LOOK_BACK}).fetchall()
    amounts = [_Amounts(*row) for row in rows]
    missing = [a for a in amounts if a.currency is None]
    malformed = [a for a in amounts if a.currency is not None and not a.well_formed]
    per_company = Counter(a.company for a in amounts if a.category == "revenue" and a.well_formed)
    problems = []
    if missing:
        problems.append(
            Violation(
                f"amounts without a currency are in no figure: {_list(missing)}",
                _currency_correction(missing[0], "currency IS NULL"),
            )
        )
    if malformed:
        problems.append(
            Violation(
                "amounts are counted apart, under a currency that is neither a code like EUR nor a ticker like BTC: "
                f"{_list(malformed)}",
                _currency_correction(malformed[0], f"currency = {_literal(malformed[0].currency or '')}"),
            )
        )
    return CheckResult.judge(
        "currencies_present",
        EVENTS,
        problems,
        good="Every amount has a well-formed currency." if amounts else "There are no amounts yet.",
        metadata={
            "amounts without a well-formed currency": sum(a.events for a in [*missing, *malformed]),
            "without currency": [str(a) for a in missing],
            "malformed": [str(a) for a in malformed],
            "companies with several revenue currencies": sorted(c for c, n in per_company.items() if n > 1),
        },
        limits={
            "such groups allowed": 0,
            "days of raw events looked at": RAW_LOOK_BACK.days,
        },
    )


def event_times(connection: Connection, settings: Settings) -> CheckResult:
    """Judge that no event lies in the future or before the first partition."""
    start = midnight(settings.start)
    future = count_future_events(connection)
    newest, oldest = fetch_row(connection, load_query("event_times"), {"start": start})
    problems = []
    if future:
        problems.append(
            Violation(
                f"{future} events are dated in the future, up to {newest:%Y-%m-%d %H:%M} UTC: closing their bucket "
                "would hide newer events from the real-time figures",
                "DELETE FROM analytics_events WHERE \"timestamp\" > now() + interval '5 minutes'; -- then record them "
                "again with their right time",
            )
        )
    if oldest is not None:
        problems.append(
            Violation(
                f"events since {oldest:%Y-%m-%d %H:%M} UTC lie before the first partition, {settings.start}, and are "
                "never closed",
                f"ANALYTICS_START={oldest:%Y-%m}-01",
                Severity.WARNING,
            )
        )
    return CheckResult.judge(
        "event_times",
        EVENTS,
        problems,
        good="No event lies in the future or before the first partition.",
        metadata={
            "events of the future": future,
            "first partition": str(settings.start),
            "oldest event before it": oldest,
        },
        limits={
            "events of the future allowed": 0,
            "minutes a clock may be ahead": CLOCK_TOLERANCE / timedelta(minutes=1),
        },
    )


def ids_stored_otherwise(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge that ids of companies and users have the form in which ids are stored.

    Records can't bring in others any more, but name the same company or user in that form: then it is two.
    """
    found = rename.ids_stored_otherwise(connection)
    problems = []
    if found:
        problems.append(
            Violation(
                f"{len(found)} ids hold unseen characters or are in another normal form than new records, which name "
                f"the same company or user otherwise: {_list(found)}",
                "analytics-pipeline ids rename",
                Severity.WARNING,
            )
        )
    return CheckResult.judge(
        "ids_stored_otherwise",
        EVENTS,
        problems,
        good="Every id of a company and a user is in the form in which ids are stored.",
        metadata={
            "ids in another form": [str(each) for each in found[:_MAX_LISTED]],
            "number of them": len(found),
        },
        limits={"such ids allowed": 0},
    )


def _list(items: Iterable[Any]) -> str:
    texts = [str(item) for item in items]
    more = f", and {len(texts) - _MAX_LISTED} more" if len(texts) > _MAX_LISTED else ""
    return ", ".join(texts[:_MAX_LISTED]) + more


def _correction(kind: _Kind, change: str) -> str:
    since = f"{kind.first:%Y-%m-%d %H:%M}+00"
    of_kind = f"category = {_literal(kind.category)} AND event_type = {_literal(kind.event_type)}"
    return _update(change, f"{of_kind} AND \"timestamp\" >= '{since}'")


def _currency_correction(amounts: _Amounts, condition: str) -> str:
    of_company = f"company_id = {_literal(amounts.company)} AND category = {_literal(amounts.category)}"
    return _update("currency = '<the right one>'", f"{of_company} AND {condition}")


def _update(change: str, condition: str) -> str:
    # For people to read, complete and run: it is not executed here.
    return f"UPDATE {EVENTS} SET {change} WHERE {condition}; -- then close these partitions again"  # noqa: S608


def _literal(text: str) -> str:
    # For statements that people read and run: standard_conforming_strings is on everywhere here.
    return "'" + text.replace("'", "''") + "'"
