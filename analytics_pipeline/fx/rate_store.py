"""The one way rates enter ``analytics_fx_rates``: each once, with a word to the figures that stand on them."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from operator import itemgetter

from analytics_pipeline.fx.csv_rates import Reading
from analytics_pipeline.fx.exchange_rates import DAYS_VALID, Rate
from analytics_pipeline.intake.rejects import store_rejects
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, lock_changes
from analytics_pipeline.windows import midnight

# The embedded server holds a statement's parameter several times over.
_BATCH_RATES = 10_000
_PAIRS_NAMED = 3


@dataclass(slots=True)
class LoadedRates:
    """What a load did: rates read, of those new, changed, as they were, rejected; first and last day (UTC) of them.

    ``not_kept`` of the rejected ones are counted and not kept.
    """

    read: int = 0
    new: int = 0
    changed: int = 0
    rejected: int = 0
    not_kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: date | None = None
    last: date | None = None

    @property
    def unchanged(self) -> int:
        """Rates that were there, equal, or stand in their source twice."""
        return self.read - self.rejected - self.new - self.changed

    def __str__(self) -> str:
        """Show the load in a line for people."""
        days = f", {self.first} to {self.last}" if self.first else ""
        return (
            f"{self.read:,} rates read{days}; {self.new:,} new, {self.changed:,} changed, "
            f"{self.unchanged:,} unchanged, {self.rejected:,} rejected"
        )


@dataclass(frozen=True, slots=True)
class ChangedSpan:
    """Days (half-open, UTC) whose conversions a changed rate may have moved, and the pairs that changed."""

    start: date
    end: date
    pairs: frozenset[str]

    @property
    def cause(self) -> str:
        """Which rates, in a few words."""
        named = sorted(self.pairs)
        rest = f" and {len(named) - _PAIRS_NAMED} more pairs" if len(named) > _PAIRS_NAMED else ""
        return f"rates {', '.join(named[:_PAIRS_NAMED])}{rest}"


def store_rates(connection: Connection, readings: Sequence[Reading]) -> LoadedRates:
    """Store what was read, in one transaction; repeating it changes nothing.

    Of two sources that contradict each other the later one counts. Every span of days whose conversions may
    differ now is written to ``analytics_metric_changes`` in the same transaction. Rejects go to
    ``analytics_ingest_rejects``.
    """
    loaded = LoadedRates()
    moved: defaultdict[date, set[str]] = defaultdict(set)
    with connection.transaction():
        # Before the first look at a table: whoever comes second sees what the first one stored.
        lock_changes(connection)
        for reading in readings:
            for rate_date, pair, was_there in _store(connection, reading):
                moved[rate_date].add(pair)
                if was_there:
                    loaded.changed += 1
                else:
                    loaded.new += 1
            store_rejects(connection, reading.rejects)
            reading.limit.store(connection)
            _count(loaded, reading)
        _record_changes(connection, changed_spans(moved))
    return loaded


def changed_spans(moved: Mapping[date, set[str]]) -> list[ChangedSpan]:
    """Return the days whose conversions may differ, contiguous ones as one span, in order.

    ``moved`` holds the pairs whose rate of a day is new or another one; a rate serves its day and the 7 after it.
    """
    spans: list[ChangedSpan] = []
    for day in sorted(moved):
        end = day + timedelta(days=DAYS_VALID + 1)
        if spans and day <= spans[-1].end:
            last = spans.pop()
            spans.append(ChangedSpan(last.start, end, last.pairs | moved[day]))
        else:
            spans.append(ChangedSpan(day, end, frozenset(moved[day])))
    return spans


def _store(connection: Connection, reading: Reading) -> list[tuple[date, str, bool]]:
    """Store the rates of one source; return day, pair and whether there was a rate, of each that is other now."""
    rates = sorted(reading.rates, key=itemgetter(0))
    moved: list[tuple[date, str, bool]] = []
    for start in range(0, len(rates), _BATCH_RATES):
        batch = rates[start : start + _BATCH_RATES]
        parameters = {"rates": json.dumps([_row(rate) for rate in batch]), "source": reading.source}
        moved += connection.execute(load_query("fx_store"), parameters).fetchall()
    return moved


def _row(rate: Rate) -> dict[str, str]:
    return {
        "rate_date": rate.rate_date.isoformat(),
        "base": rate.base,
        "quote": rate.quote,
        # As text: JSON has no decimal that every reader keeps.
        "rate": str(rate.rate),
    }


def _count(loaded: LoadedRates, reading: Reading) -> None:
    loaded.read += reading.read
    loaded.rejected += reading.reasons.total()
    loaded.not_kept += reading.limit.left_out().total()
    loaded.reasons += reading.reasons
    days = [rate.rate_date for rate in reading.rates]
    loaded.first = min([*days, *filter(None, [loaded.first])], default=None)
    loaded.last = max([*days, *filter(None, [loaded.last])], default=None)


def _record_changes(connection: Connection, spans: Sequence[ChangedSpan]) -> None:
    if not spans:
        return
    rows = [
        {"changed_from": str(midnight(s.start)), "changed_until": str(midnight(s.end)), "cause": s.cause} for s in spans
    ]
    connection.execute(load_query("fx_changes"), {"changes": json.dumps(rows)})
