"""The metric tables: what is stored against what the definitions give, rates that lack, what is outdated."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

from psycopg import sql

from analytics_pipeline.companies.calendar import platform_calendar
from analytics_pipeline.currencies import round_money
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation, close_command
from analytics_pipeline.metrics.partitions import closed_ranges
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.tables import KeptPeriods, MetricTable, StalePeriod, kept_periods, stale_periods
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row, one_state
from analytics_pipeline.timescale.expiry import has_archive, restored_windows
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.timescale.refresh import behind_horizon, expired_events, retention_horizon
from analytics_pipeline.windows import Granularity, Window, common_windows, midnight

# What is proved of days at most: each takes about as long as it took to compute.
LOOK_BACK = {Granularity.DAY: timedelta(days=35), Granularity.MONTH: timedelta(days=400)}
_YEAR, _LEAP_YEAR = timedelta(days=365), timedelta(days=366)
_BEYOND_UTC = timedelta(days=1)
_MAX_SHOWN = 5

EQUALS_CHECK = "equals_definitions"
CONVERTED_CHECK = "amounts_converted"
_CHANGED = "what they stand on has changed since they were computed, and late_events has them computed again"


def equals_definitions(
    connection: Connection,
    settings: Settings,
    subject: str,
    table: MetricTable,
    granularity: Granularity,
    window: Window | None = None,
) -> CheckResult:
    """Judge the stored rows of a window, or of the newest closed periods, against what the functions give now.

    Days are proved for the last 35 of a window, months for the last 13, and with them the years that these are of;
    autocommit connection. Periods under which something has changed since they were computed are no failure: they are
    computed again.
    """
    judged = _proved_window(connection, table, granularity, window)
    found = _compare(connection, settings, table, str(granularity), judged)
    compared = {str(granularity): found}
    if table.has_years and granularity is Granularity.MONTH:
        compared["year"] = _compare(connection, settings, table, "year", _years_of(judged))
    differing = sum(each.differing for each in compared.values())
    problems = []
    if differing:
        examples = [example for each in compared.values() for example in each.examples][:_MAX_SHOWN]
        problems.append(
            Violation(
                f"{differing} rows of {judged} differ from what the definitions give: {'; '.join(examples)}",
                close_command(judged),
            )
        )
    good = "Nothing is closed yet, or all of it waits to be computed again."
    if found.periods:
        widths = " and ".join(
            f"{each.periods} {width}{'' if each.periods == 1 else 's'}"
            for width, each in compared.items()
            if each.periods
        )
        good = f"All {sum(each.rows for each in compared.values())} rows of {widths} equal what the definitions give"
        good += (
            f", but for {len(found.changed)} {granularity}s from {found.changed[0]:%Y-%m-%d} on: {_CHANGED}."
            if found.changed
            else "."
        )
    return CheckResult.judge(
        EQUALS_CHECK,
        subject,
        problems,
        good=good,
        metadata={
            "window": str(judged),
            **{f"{width}s compared": each.periods for width, each in compared.items()},
            "rows compared": sum(each.rows for each in compared.values()),
            "differences": differing,
            f"{granularity}s changed meanwhile": len(found.changed),
        },
        limits={"differences allowed": 0},
    )


class _Comparison(NamedTuple):
    """Closed periods beside what the definitions give: rows that differ, but for periods that have changed since."""

    periods: int
    rows: int
    differing: int
    examples: Sequence[str]
    changed: Sequence[date]


def _compare(connection: Connection, settings: Settings, table: MetricTable, width: str, window: Window) -> _Comparison:
    """Compare the closed days, months or years of a window with what the definitions give."""
    platform = platform_calendar(connection, settings)
    # The period before counts, too.
    day_before = window.start - timedelta(days=1)
    before = {"day": day_before, "month": day_before.replace(day=1), "year": day_before.replace(month=1, day=1)}[width]
    query = sql.SQL(load_query("compare_metric")).format(
        table=sql.Identifier(table.table), rows=sql.Identifier(table.rows_function)
    )
    with one_state(connection):
        # The year before is what MRR and revenue of a period are compared with. Local dates reach beyond those of UTC.
        first, end = before - _BEYOND_UTC, window.end + _BEYOND_UTC
        stale = [
            each
            for part in (Window(first, end), Window(first - _LEAP_YEAR, end - _YEAR))
            for each in stale_ranges(connection, part)
            if each.aggregate in table.aggregates
        ]
        parameters = {
            "metric": table.metric,
            "granularity": width,
            "before": before.date(),
            "first": window.start.date(),
            "until": window.end.date(),
            "zone": platform.time_zone,
            "currency": platform.currency,
            "version": DEFINITIONS_VERSION,
            "horizon": retention_horizon(connection),
            "most": _MAX_SHOWN,
            "amounts": table.amounts,
            "stale_first": [each.first for each in stale],
            "stale_last": [each.last for each in stale],
        }
        return _Comparison(*fetch_row(connection, query, parameters))


def _years_of(window: Window) -> Window:
    """Return the calendar years that some months are of."""
    last = window.end - timedelta(days=1)
    return Window(window.start.replace(month=1), last.replace(year=last.year + 1, month=1, day=1))


def amounts_converted(
    connection: Connection,
    settings: Settings,
    subject: str,
    table: MetricTable,
    granularity: Granularity,
    window: Window | None = None,
) -> CheckResult:
    """Judge that no amount of a window, or of the newest closed periods, lacks a rate of exchange."""
    wanted = window or _proved_window(connection, table, granularity, None)
    query = sql.SQL(load_query("unconverted_metric")).format(table=sql.Identifier(table.table))
    rows = connection.execute(
        query, {"granularity": str(granularity), "first": wanted.start.date(), "until": wanted.end.date()}
    ).fetchall()
    targets = " or ".join(sorted({row[-1] for row in rows} or {settings.base_currency}))
    listed = [
        {
            "company": company or "all companies",
            "figure": figure,
            "currency": currency,
            "amount": f"{round_money(amount, currency):f}",
            "first day": f"{first:%Y-%m-%d}",
            "last day": f"{last:%Y-%m-%d}",
        }
        for company, figure, currency, amount, first, last, _ in rows
    ]
    problems = []
    if listed:
        named = "; ".join(
            f"{row['company']}: {row['figure']} of {row['amount']} {row['currency']} ({row['first day']} to "
            f"{row['last day']})"
            for row in listed[:_MAX_SHOWN]
        )
        more = f"; and {len(listed) - _MAX_SHOWN} more" if len(listed) > _MAX_SHOWN else ""
        problems.append(
            Violation(
                f"amounts are left out because no rate to {targets} of the 7 days up to their day, or "
                f"to that of another part of their movement, is known: {named}{more}",
                "analytics-pipeline fx load FILE  # the periods are computed again by themselves",
            )
        )
    return CheckResult.judge(
        CONVERTED_CHECK,
        subject,
        problems,
        good=f"Every amount of {wanted} is converted to {settings.base_currency}.",
        metadata={
            "window": str(wanted),
            "reporting currency": settings.base_currency,
            "unconverted amounts": len(listed),
            "unconverted": listed,
        },
        limits={"unconverted amounts allowed": 0},
    )


def figures_current(
    connection: Connection, settings: Settings, subject: str, table: MetricTable, granularity: Granularity
) -> CheckResult:
    """Judge that closed periods have seen every change, and follow today's definitions and reporting currency.

    Those whose events have expired keep their figures and their version, which is no error.
    """
    platform = platform_calendar(connection, settings)
    stale = [
        p
        for p in stale_periods(connection, platform.currency, platform.time_zone)
        if p.metric == table.metric and p.granularity is granularity
    ]
    kept = kept_periods(connection, table, granularity, platform.currency, platform.time_zone)
    problems = _stale_violations(connection, settings, subject, granularity, stale) if stale else []
    return CheckResult.judge(
        "figures_current",
        subject,
        problems,
        good=f"Every closed {granularity} has seen every change and follows definitions version {DEFINITIONS_VERSION}"
        + (f", but {_kept_in_words(kept, granularity)}." if kept else "."),
        metadata={
            "stale periods": len(stale),
            "periods that keep an older version": kept.count if kept else 0,
        },
        limits={
            "definitions version": DEFINITIONS_VERSION,
            "such periods allowed": 0,
        },
    )


def _stale_violations(
    connection: Connection, settings: Settings, subject: str, granularity: Granularity, stale: Sequence[StalePeriod]
) -> list[Violation]:
    """Say of stale periods who computes them again: behind the retention horizon ``close`` can't."""
    expired = behind_horizon(granularity, retention_horizon(connection), restored_windows(connection))
    asked = closed_ranges(connection).get(subject, []) if expired else []
    groups: dict[str, list[StalePeriod]] = {"here": [], "asked": [], "left": []}
    for period in stale:
        if not common_windows([period.window], expired):
            groups["here"].append(period)
        elif period.window.start >= midnight(settings.start) and common_windows([period.window], asked):
            groups["asked"].append(period)
        else:
            groups["left"].append(period)
    problems = []
    for group, periods in groups.items():
        if not periods:
            continue
        span = Window(periods[0].window.start, periods[-1].window.end)
        which = (
            f"{len(periods)} closed {granularity}s from {span.start:%Y-%m-%d} to {periods[-1].window.start:%Y-%m-%d}"
        )
        causes = f"because of: {periods[0].causes}"
        if group == "here":
            text = f"{which} are to be computed again, {causes}; the sensor late_events asks for them"
            remedy = f"analytics-pipeline close --start {span.start:%Y-%m-%d} --end {span.end:%Y-%m-%d}"
        else:
            text = f"{which}, behind the retention horizon, "
            text += (
                f"are to be computed again from what outlives their events, {causes}; the sensor late_events asks for "
                "them"
                if group == "asked"
                else f"stay as they are, though something has changed under them, {causes}; the sensor late_events "
                "asks for none that begins before ANALYTICS_START or that nobody has closed"
            )
            remedy = ""
            if has_archive(connection):
                months = span.widen(Granularity.MONTH)
                text += (
                    f". With their events they can be closed again: bring these back, then '{close_command(months)}', "
                    "then 'analytics-pipeline archive release'"
                )
                bounds = f"--start {months.start:%Y-%m-%d} --end {months.end:%Y-%m-%d}"
                remedy = f"analytics-pipeline archive restore {bounds}"
        problems.append(Violation(text, remedy, Severity.WARNING))
    return problems


def _kept_in_words(kept: KeptPeriods, granularity: Granularity) -> str:
    versions = " and ".join(str(version) for version in kept.versions)
    of_companies = f", {kept.companies} of the companies in another time zone or currency than theirs is now"
    return (
        f"{kept.count} {granularity}s from {kept.first.start:%Y-%m-%d} to {kept.last.start:%Y-%m-%d}, whose events "
        f"have expired, keep their figures and their version ({versions})"
        f"{of_companies if kept.companies else ''}"
    )


def _proved_window(
    connection: Connection, table: MetricTable, granularity: Granularity, window: Window | None
) -> Window:
    if window is None:
        (end,) = fetch_row(
            connection,
            "SELECT max(period_date) FROM analytics_metric_periods WHERE metric = %s AND granularity = %s",
            [table.metric, str(granularity)],
        )
        end = granularity.next(midnight(end)) if end else granularity.floor(database_now(connection))
    else:
        end = window.end
    start = granularity.floor(end - LOOK_BACK[granularity])
    if window is not None:
        start = max(start, window.start)
    if table.needs_raw_events and granularity is Granularity.DAY:
        # The day before the first one has to have its events too.
        gone = common_windows([Window(start - timedelta(days=1), end)], expired_events(connection))
        if gone:
            first = granularity.next(granularity.ceil(gone[-1].end))
            start = min(max(start, first), end - (granularity.next(start) - start))
    return Window(start, end)
