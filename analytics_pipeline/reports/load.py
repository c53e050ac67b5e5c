"""Reads reports from the database: a company's, the one over all companies, or those of every company at once."""

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from analytics_pipeline.companies.local_windows import local_months
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.metrics.answers import one_view
from analytics_pipeline.metrics.periods import previous_window
from analytics_pipeline.metrics.rates import NO_RATES
from analytics_pipeline.metrics.revenue import (
    MrrFigures,
    MrrMovements,
    RevenueFigures,
    RevenueMetrics,
    all_unconverted,
)
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION, scope
from analytics_pipeline.metrics.users import UserMetrics, are_users_kept
from analytics_pipeline.reports.report import Report, period_revenue
from analytics_pipeline.reports.report_parts import ReportLoader, ReportPart
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import retention_horizon
from analytics_pipeline.windows import Window

_ZERO = Decimal(0)
_NO_REVENUE = RevenueFigures(
    RevenueMetrics(_ZERO, _ZERO, _ZERO, None, None, _ZERO, _ZERO, 0, None, 0), (), is_empty=True
)
_NO_MOVEMENTS = MrrFigures(MrrMovements(*[_ZERO] * 8), NO_RATES, (), is_empty=True)
_NO_USERS = UserMetrics(0, 0, 0, 0, 0, 0, None, None, None)


def load_report(
    connection: Connection, company_id: str | None, window: Window, currency: str, parts: Iterable[ReportPart[Any]]
) -> Report:
    """Return the report of a company, None: over all companies, for a window of whole days, with these parts.

    Days and months are those of the window's time zone.
    """
    (report,) = _load(connection, company_id, window, currency, parts, each=company_id is not None)
    return report


def load_company_reports(
    connection: Connection,
    window: Window,
    currency: str,
    parts: Iterable[ReportPart[Any]],
    *,
    wanted: Callable[[str], bool] | None = None,
) -> list[Report]:
    """Return the report of every company that has figures in the window, in the order of their ids.

    Of those alone that are ``wanted``, if that is given.

    Raises ``AnalyticsError`` for a window that is not over: it would be as of another instant for each of them.
    """
    if window.end > database_now(connection):
        raise AnalyticsError(f"The reports of all companies are made once their period has ended, not of {window}.")
    return _load(connection, None, window, currency, parts, each=True, wanted=wanted)


def _load(
    connection: Connection,
    company_id: str | None,
    window: Window,
    currency: str,
    parts: Iterable[ReportPart[Any]],
    *,
    each: bool,
    wanted: Callable[[str], bool] | None = None,
) -> list[Report]:
    # Before the view is opened, which can't write down a horizon that was just found.
    horizon = retention_horizon(connection)
    previous = previous_window(connection, window)
    countable = {period for period in (window, previous) if are_users_kept(connection, period)}
    with one_view(connection):
        loader = ReportLoader(
            connection,
            company_id,
            window,
            previous,
            currency,
            each=each,
            countable=countable,
            horizon=horizon,
            wanted=wanted,
        )
        return _reports(loader, parts)


def _reports(loader: ReportLoader, parts: Iterable[ReportPart[Any]]) -> list[Report]:
    window, previous = loader.window, loader.previous
    # Both at once.
    revenues = loader.revenue([window, previous])
    users = loader.users([period for period in (window, previous) if period in loader.countable])
    movements = loader.movements([window, previous])
    keys, scoped = loader.keys, loader.scope
    found = {part: part.read(loader) for part in parts}
    (ending_month,) = local_months(loader.connection, [window.last_day], window.time_zone)
    last_month = scope(loader.connection, loader.company, ending_month)
    reports = []
    for key in keys:
        revenue, revenue_before = (revenues[period].get(key, _NO_REVENUE) for period in (window, previous))
        moved, moved_before = (movements[period].get(key, _NO_MOVEMENTS) for period in (window, previous))
        counted, counted_before = (
            users[period].get(key, _NO_USERS) if period in users else None for period in (window, previous)
        )
        events, all_events = loader.events.get(key, ((), 0))
        reports.append(
            Report(
                company_id=key,
                name=None if key is None else loader.names.get(key),
                window=window,
                previous=previous,
                currency=loader.currency,
                as_of=scoped.as_of,
                # What happened later is no part of the report: its bytes stay those of its period.
                data_through=_earlier(scoped.data_through, window.end),
                provisional=scoped.provisional,
                last_month_open=last_month.provisional,
                definitions_version=DEFINITIONS_VERSION,
                revenue=period_revenue(revenue),
                revenue_before=period_revenue(revenue_before),
                movements=moved.movements,
                users=counted,
                users_before=counted_before,
                unconverted=all_unconverted(revenue, moved),
                events=events,
                all_events=all_events,
                rates=moved.rates,
                rates_before=moved_before.rates,
                parts={part.name: of_each.get(key, part.nothing) for part, of_each in found.items()},
            )
        )
    return reports


def _earlier(instant: datetime | None, end: datetime) -> datetime | None:
    return None if instant is None else min(instant, end)
