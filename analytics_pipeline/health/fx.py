"""The rates of exchange: whether they are as new as the data, and reach back over every amount there is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from psycopg.types.multirange import Multirange

from analytics_pipeline.asset_names import FX_ASSET
from analytics_pipeline.fx.exchange_rates import DAYS_VALID, FX_RATES
from analytics_pipeline.fx.rate_sources import ECB, ECB_URL, source_name
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation
from analytics_pipeline.health.freshness import CLOCK_TOLERANCE
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection

# A currency with amounts in so many days is in use.
LOOK_BACK = timedelta(days=35)
# Friday's rate is the newest until Tuesday if Monday was a holiday; older than that are few.
DAYS_USUAL = 4
_MAX_SHOWN = 3
_MAX_LISTED = 100


@dataclass(frozen=True, slots=True)
class _Gap:
    """Days without a rate, both included."""

    currency: str
    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        span = f"{self.first}" if self.days == 1 else f"{self.first} to {self.last}"
        return f"{self.currency} {span}"


@dataclass(frozen=True, slots=True)
class _Use:
    """A currency with amounts to convert; ``newest`` is its newest rate towards the reporting currency."""

    currency: str
    first_day: date
    last_day: date
    lately: bool
    data_through: date
    newest: date | None
    unserved: Multirange[date]
    # The last day of which its source had a rate, if the source goes on without it.
    ended_on: date | None
    ended_source: str | None

    @property
    def age(self) -> int | None:
        """Days from the newest rate to the newest event of any kind: what is converted at today's rate."""
        return None if self.newest is None else max((self.data_through - self.newest).days, 0)

    @property
    def has_ended(self) -> bool:
        """Whether the newest rate is old because the source has ended, and not because nobody has loaded it."""
        return self.ended_on is not None and (self.newest is None or self.newest <= self.ended_on)

    @property
    def gaps(self) -> list[_Gap]:
        return [
            _Gap(self.currency, span.lower, span.upper - timedelta(days=1))
            for span in self.unserved
            if span.lower is not None and span.upper is not None
        ]

    def is_of_the_end(self, gap: _Gap) -> bool:
        """Return whether a gap of this currency is the one after the last rate of a source that has ended."""
        return self.ended_on is not None and gap.first > self.ended_on


def rates_fresh(connection: Connection, settings: Settings) -> CheckResult:
    """Judge the age of the newest rate of every currency that had amounts lately.

    A rate serves the 7 days after its own. Its age is counted to the newest event, so that data that has
    ended, such as the sample's, does not grow stale by itself.
    """
    uses = [use for use in _uses(connection, settings) if use.lately]
    ended = [use for use in uses if use.has_ended]
    missing = [use for use in uses if use.age is None and not use.has_ended]
    stale = [use for use in uses if use.age is not None and use.age > DAYS_VALID and not use.has_ended]
    ageing = [use for use in uses if use.age is not None and DAYS_USUAL < use.age <= DAYS_VALID]
    base = settings.base_currency
    problems = []
    if missing:
        problems.append(
            Violation(
                f"no rate at all leads from {_names(missing)} to {base}: such amounts are in no converted figure",
                _load(settings, "--ecb"),
                fallback=_by_hand(f"rows like {missing[0].data_through},{missing[0].currency},{base},<rate>"),
            )
        )
    for old, text, severity in (
        (stale, f"the newest rates are too old to convert at, a rate serves {DAYS_VALID} days", Severity.ERROR),
        (ageing, f"the newest rates soon are too old, a rate serves {DAYS_VALID} days", Severity.WARNING),
    ):
        if old:
            since = min(use.newest for use in old if use.newest)
            problems.append(
                Violation(
                    f"{text}: {_ages(old)}",
                    _load(settings, ECB_URL),
                    severity,
                    fallback=_by_hand(f"rates after {since}"),
                )
            )
    problems += _ended_problems(ended)
    return CheckResult.judge(
        "rates_fresh",
        FX_ASSET,
        problems,
        good=f"The rates of {_names(uses)} are as new as the data."
        if uses
        else f"No amount of the last {LOOK_BACK.days} days is in a currency other than {base}.",
        metadata={
            "currencies": [
                {"currency": use.currency, "newest rate": str(use.newest or "none"), "age (days)": use.age}
                for use in uses
            ],
            "currencies in use": len(uses),
            "age of the oldest of them (days)": max((use.age for use in uses if use.age is not None), default=None),
            "counted to": uses[0].data_through if uses else None,
            "reporting currency": base,
            "source": source_name(settings.fx_source),
        },
        limits={
            "days allowed": DAYS_VALID,
            "days before a warning": DAYS_USUAL,
        },
    )


def rates_without_gaps(connection: Connection, settings: Settings) -> CheckResult:
    """Judge that every day from the first to the last amount in a currency has a rate to convert it at."""
    uses = _uses(connection, settings)
    gaps = [gap for use in uses for gap in use.gaps]
    missing = [gap for use in uses for gap in use.gaps if not use.is_of_the_end(gap)]
    base = settings.base_currency
    problems = []
    if missing:
        problems.append(
            Violation(
                f"days on which amounts can't be converted to {base}, because no rate is of that day or up to "
                f"{DAYS_VALID} days before: {_told(missing)}",
                _load(settings, "--ecb"),
                fallback=_by_hand("rates of those days"),
            )
        )
    problems += _ended_problems([use for use in uses if any(map(use.is_of_the_end, use.gaps))])
    return CheckResult.judge(
        "rates_without_gaps",
        FX_ASSET,
        problems,
        good=f"{_names(uses)} can be converted to {base} on every day since their first amounts."
        if uses
        else f"There is no amount in a currency other than {base}.",
        metadata={
            "days without a rate": sum(gap.days for gap in gaps),
            "gaps": [
                {"currency": gap.currency, "from": str(gap.first), "to": str(gap.last), "days": gap.days}
                for gap in gaps[:_MAX_LISTED]
            ],
            "gaps listed": f"{min(len(gaps), _MAX_LISTED)} of {len(gaps)}",
            "reporting currency": base,
            "table": FX_RATES,
        },
        limits={"days without a rate allowed": 0},
    )


def _ended_problems(uses: Iterable[_Use]) -> list[Violation]:
    """Say of which currencies there will be no more rates: no failure, for nothing that is loaded again changes it."""
    return [
        Violation(
            f"the source of {use.currency} has ended: {use.ended_source} has no rate of it after {use.ended_on}; "
            "amounts of later days are in no converted figure, unless another source has rates",
            severity=Severity.WARNING,
            fallback=_by_hand(f"rates of {use.currency} after {use.ended_on}"),
        )
        for use in uses
    ]


def _uses(connection: Connection, settings: Settings) -> list[_Use]:
    parameters = {
        "base": settings.base_currency,
        "look_back": LOOK_BACK,
        "tolerance": CLOCK_TOLERANCE,
        "days_valid": DAYS_VALID,
        "ended_after": LOOK_BACK.days,
    }
    return [_Use(*row) for row in connection.execute(load_query("fx_use"), parameters).fetchall()]


def _load(settings: Settings, of_the_ecb: str) -> str:
    """Return the command that loads the source; what is shipped of the ECB ends where the installed release does."""
    return "analytics-pipeline fx load" + (f" {of_the_ecb}" if settings.fx_source == ECB else "")


def _by_hand(rows: str) -> str:
    return f"analytics-pipeline fx load FILE  # {rows}"


def _names(uses: Iterable[_Use]) -> str:
    return ", ".join(use.currency for use in uses)


def _ages(uses: Iterable[_Use]) -> str:
    return ", ".join(f"{use.currency} of {use.newest}, {use.age} days before the newest event" for use in uses)


def _told(gaps: list[_Gap]) -> str:
    more = f"; and {len(gaps) - _MAX_SHOWN} more" if len(gaps) > _MAX_SHOWN else ""
    return "; ".join(str(gap) for gap in gaps[:_MAX_SHOWN]) + more
