"""Reads reports from the database: a company's, the one over all companies, or those of every company at once.

Belongs here: which query gives which part of a report. Does not belong here: what a figure means (``sql/functions``).

Every statement sees the same data. Each query serves a company, all of them together and every one by itself, so
that a thousand reports take as many statements as one. Months of the trend are read from the metric tables where
those are closed and have seen every change, or keep the figures of an older version of the definitions because their
events have expired, and are computed where not.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.metrics.answers import one_view
from analytics_pipeline.metrics.periods import CompanyWindow, previous_window
from analytics_pipeline.metrics.rates import NO_RATES
from analytics_pipeline.metrics.revenue import (
    MrrFigures,
    MrrMovements,
    RevenueFigures,
    RevenueMetrics,
    all_unconverted,
    mrr_figures,
    revenue_figures,
)
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION, scope
from analytics_pipeline.metrics.tables import (
    GRANULARITIES,
    METRIC_TABLES,
    MRR_MOVEMENTS,
    REVENUE_METRICS,
    USER_METRICS,
    MetricTable,
)
from analytics_pipeline.metrics.top_events import EventCount
from analytics_pipeline.metrics.users import UserMetrics, require_raw_users, user_figures
from analytics_pipeline.reports.figures import trailing_months
from analytics_pipeline.reports.fired_alerts import FiredAlert, fired_alerts
from analytics_pipeline.reports.report import (
    ClosedFigures,
    CompanyFigures,
    CryptoVolume,
    MonthFigures,
    OriginalRevenue,
    PeriodRevenue,
    Quality,
    RawEvents,
    RefundDay,
    Rejects,
    Report,
)
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.timescale.refresh import HorizonError, retention_horizon
from analytics_pipeline.windows import Granularity, Window

MAX_EVENT_TYPES = 15

# A company's id, None: all companies together.
Key = str | None
T = TypeVar("T")


class _MonthRevenue(NamedTuple):
    total_revenue: Decimal
    growth: Decimal | None
    invoiced: Decimal
    refunds: Decimal
    mrr: Decimal
    paying_customers: int
    incomplete: frozenset[str]


class _ClosedPeriod(NamedTuple):
    """A closed period of a metric, by which version of the definitions, and whether its figures are to be shown."""

    metric: str
    start: datetime
    version: int
    stands: bool


class _MonthUsers(NamedTuple):
    total_users: int
    active_users: int | None
    new_users: int | None
    churned_users: int | None


class _MonthMovements(NamedTuple):
    movements: MrrMovements
    is_incomplete: bool


_GRANULARITIES = {aggregate.name: aggregate.granularity for aggregate in AGGREGATES}
_ZERO = Decimal(0)
_NO_REVENUE = RevenueFigures(
    RevenueMetrics(_ZERO, _ZERO, _ZERO, None, None, _ZERO, _ZERO, 0, None, 0), (), is_empty=True
)
_NO_MOVEMENTS = MrrFigures(MrrMovements(*[_ZERO] * 8), NO_RATES, (), is_empty=True)
_NO_USERS = UserMetrics(0, 0, 0, 0, 0, 0, None, None, None)
_NO_MONTH_REVENUE = _MonthRevenue(_ZERO, None, _ZERO, _ZERO, _ZERO, 0, frozenset())
_NO_MONTH_USERS = _MonthUsers(0, 0, 0, 0)
_NO_MONTH_MOVEMENTS = _MonthMovements(_NO_MOVEMENTS.movements, is_incomplete=False)
_NO_RAW = RawEvents(0, 0, _ZERO, _ZERO, 0, 0, timedelta(0))


@dataclass(frozen=True, slots=True)
class ReportParts:
    """Whether some section asks for the parts that cost the most."""

    months: bool = True
    quality: bool = True
    companies: bool = True


def load_report(
    connection: Connection, company_id: str | None, window: Window, currency: str, wanted: ReportParts
) -> Report:
    """Return the report of a company, None: over all companies, for a window of whole UTC days."""
    (report,) = _load(connection, company_id, window, currency, wanted, each=company_id is not None)
    return report


def load_company_reports(connection: Connection, window: Window, currency: str, wanted: ReportParts) -> list[Report]:
    """Return the report of every company that has figures in the window, in the order of their ids.

    Raises ``AnalyticsError`` for a window that is not over: it would be as of another instant for each of them.
    """
    if window.end > database_now(connection):
        raise AnalyticsError(f"The reports of all companies are made once their period has ended, not of {window}.")
    return _load(connection, None, window, currency, wanted, each=True)


def _load(
    connection: Connection, company_id: str | None, window: Window, currency: str, wanted: ReportParts, *, each: bool
) -> list[Report]:
    # Before the view is opened, which can't write down a horizon that was just found.
    horizon = retention_horizon(connection)
    previous = previous_window(connection, window)
    countable = {period for period in (window, previous) if _can_count_users(connection, period)}
    with one_view(connection):
        reading = _ReportLoader(connection, company_id, window, currency, horizon, each=each)
        return reading.reports(wanted, previous, countable, has_raw=horizon is None or window.start >= horizon)


def _can_count_users(connection: Connection, window: Window) -> bool:
    try:
        require_raw_users(connection, window)
    except HorizonError:
        return False
    return True


class _ReportLoader:
    """One reading of the database for a window; what it returns is by company."""

    def __init__(
        self,
        connection: Connection,
        company_id: str | None,
        window: Window,
        currency: str,
        horizon: datetime | None,
        *,
        each: bool,
    ) -> None:
        self._connection = connection
        self._company = company_id
        self._window = window
        self._currency = currency
        self._horizon = horizon
        self._each = each
        self._revenue_read: dict[Window, dict[Key, RevenueFigures]] = {}
        self._users_read: dict[Window, dict[Key, UserMetrics]] = {}
        self._movements_read: dict[Window, dict[Key, MrrFigures]] = {}

    def reports(
        self, wanted: ReportParts, previous: Window, countable: Collection[Window], *, has_raw: bool
    ) -> list[Report]:
        """Return the reports in the order of their companies' ids."""
        window = self._window
        revenue, revenue_before = self._revenue(window), self._revenue(previous)
        users = self._users(window) if window in countable else None
        users_before = self._users(previous) if previous in countable else None
        moved_in = self._movements([window, previous])
        movements, movements_before = moved_in[window], moved_in[previous]
        currencies, refund_days = self._currencies()
        crypto = self._listed("report_crypto", CryptoVolume)
        events, event_totals = self._events()
        alerts = self._alerts()
        moved = {key: figures for key, figures in movements.items() if not figures.is_empty}
        keys = self._keys(revenue, moved, users or {}, crypto, events)
        months = self._months(keys) if wanted.months else {}
        scoped = scope(self._connection, self._company, window)
        quality = self._quality(keys, has_raw=has_raw, provisional=scoped.provisional) if wanted.quality else {}
        companies = self._companies(countable=window in countable) if wanted.companies and not self._each else ()
        last_month = scope(self._connection, self._company, Window.of_month(window.last_day))
        return [
            Report(
                company_id=key,
                window=window,
                previous=previous,
                currency=self._currency,
                as_of=scoped.as_of,
                # What happened later is no part of the report: its bytes stay those of its period.
                data_through=_earlier(scoped.data_through, window.end),
                provisional=scoped.provisional,
                last_month_open=last_month.provisional,
                definitions_version=DEFINITIONS_VERSION,
                revenue=_period_revenue(revenue.get(key, _NO_REVENUE)),
                revenue_before=_period_revenue(revenue_before.get(key, _NO_REVENUE)),
                movements=movements.get(key, _NO_MOVEMENTS).movements,
                users=None if users is None else users.get(key, _NO_USERS),
                users_before=None if users_before is None else users_before.get(key, _NO_USERS),
                companies=companies,
                months=months.get(key, ()),
                currencies=currencies[key],
                unconverted=all_unconverted(revenue.get(key, _NO_REVENUE), movements.get(key, _NO_MOVEMENTS)),
                refund_days=refund_days[key],
                crypto=crypto[key],
                events=events[key],
                all_events=event_totals.get(key, 0),
                alerts=alerts[key],
                quality=quality.get(key),
                rates=movements.get(key, _NO_MOVEMENTS).rates,
                rates_before=movements_before.get(key, _NO_MOVEMENTS).rates,
            )
            for key in keys
        ]

    def _keys(self, *found: Mapping[Key, Any]) -> list[Key]:
        """Return whose reports there are: those asked for, or every company that has figures."""
        if self._company is not None or not self._each:
            return [self._company]
        return [*sorted({key for one in found for key in one if key is not None})]

    def _rows(self, query: str, window: Window | None = None, **more: object) -> list[tuple[Any, ...]]:
        over = window or self._window
        parameters = {
            "company": self._company,
            "each": self._each,
            "start": over.start,
            "end": over.end,
            "currency": self._currency,
            **more,
        }
        return self._connection.execute(load_query(query), parameters).fetchall()

    def _listed(
        self, query: str, kind: Callable[..., T], window: Window | None = None, **more: object
    ) -> defaultdict[Key, list[T]]:
        """Return the rows of a query as lists by their first column."""
        found: defaultdict[Key, list[T]] = defaultdict(list)
        for key, *fields in self._rows(query, window, **more):
            found[key].append(kind(*fields))
        return found

    def _revenue(self, window: Window) -> dict[Key, RevenueFigures]:
        return self._revenues([window])[window]

    def _revenues(self, windows: Sequence[Window]) -> dict[Window, dict[Key, RevenueFigures]]:
        return _read_once(self._revenue_read, windows, partial(self._read_revenues, each=self._each))

    def _read_revenues(self, windows: Sequence[Window], *, each: bool) -> dict[Window, dict[Key, RevenueFigures]]:
        asked = self._asked(windows, each=each)
        figures = revenue_figures(self._connection, asked, self._currency)
        return _by_window(windows, asked, (None if one.is_empty else one for one in figures))

    def _asked(self, windows: Sequence[Window], *, each: bool) -> list[CompanyWindow]:
        """Return each window of whoever is asked for: a company, all together, or every one that may have figures."""
        keys: Sequence[Key] = [self._company]
        if each and self._company is None:
            first, last = min(windows), max(windows)
            query = "SELECT analytics_companies_of(analytics_previous_start(%s, %s), %s)"
            (keys,) = fetch_row(self._connection, query, [first.start, first.end, last.end])
        return [(key, window) for window in windows for key in keys]

    def _users(self, window: Window) -> dict[Key, UserMetrics]:
        return self._users_of([window])[window]

    def _users_of(self, windows: Sequence[Window]) -> dict[Window, dict[Key, UserMetrics]]:
        return _read_once(self._users_read, windows, partial(self._read_users, each=self._each))

    def _read_users(self, windows: Sequence[Window], *, each: bool) -> dict[Window, dict[Key, UserMetrics]]:
        asked = self._asked(windows, each=each)
        figures = user_figures(self._connection, asked)
        return _by_window(windows, asked, (None if one.is_empty else one.metrics for one in figures))

    def _movements(self, windows: Sequence[Window]) -> dict[Window, dict[Key, MrrFigures]]:
        return _read_once(self._movements_read, windows, self._read_movements)

    def _read_movements(self, windows: Sequence[Window]) -> dict[Window, dict[Key, MrrFigures]]:
        asked = self._asked(windows, each=self._each)
        # Without any MRR there may still be a year to compare revenue with.
        return _by_window(windows, asked, mrr_figures(self._connection, asked, self._currency))

    def _currencies(self) -> tuple[defaultdict[Key, list[OriginalRevenue]], defaultdict[Key, list[RefundDay]]]:
        currencies: defaultdict[Key, list[OriginalRevenue]] = defaultdict(list)
        days: defaultdict[Key, list[RefundDay]] = defaultdict(list)
        for key, currency, day, *amounts in self._rows("report_currencies"):
            whole = OriginalRevenue(currency, *amounts)
            if day is None:
                currencies[key].append(whole)
            else:
                days[key].append(RefundDay(day, currency, whole.refunds, whole.converted_refunds))
        return currencies, days

    def _events(self) -> tuple[defaultdict[Key, list[EventCount]], dict[Key, int]]:
        events: defaultdict[Key, list[EventCount]] = defaultdict(list)
        totals: dict[Key, int] = {}
        for key, event_type, category, count, total in self._rows("report_events", most=MAX_EVENT_TYPES):
            events[key].append(EventCount(event_type, category, count))
            totals[key] = total
        return events, totals

    def _companies(self, *, countable: bool) -> list[CompanyFigures]:
        """Return the companies with figures, the one with the most revenue first."""
        window = self._window
        users = self._read_users([window], each=True)[window] if countable else {}
        found = [
            CompanyFigures(key, _period_revenue(revenue), users.get(key, _NO_USERS).active_users if countable else None)
            for key, revenue in self._read_revenues([window], each=True)[window].items()
            if key is not None
        ]
        return sorted(found, key=lambda company: (-company.revenue.figures.total_revenue, company.company_id))

    def _alerts(self) -> defaultdict[Key, list[FiredAlert]]:
        """Return what fired: a company's own, or in the report over all companies that of each and of all together."""
        fired: defaultdict[Key, list[FiredAlert]] = defaultdict(list)
        for alert in fired_alerts(self._connection, self._company, self._window):
            fired[alert.company if self._each else None].append(alert)
        return fired

    def _months(self, keys: Iterable[Key]) -> dict[Key, list[MonthFigures]]:
        trend = [Window.of_month(month) for month in trailing_months(self._window.last_day.replace(day=1))]
        standing = {
            (period.metric, period.start): period.version
            for period in self._closed_periods(Granularity.MONTH, trend)
            if period.stands
        }
        # The period itself is what the functions say of it, like every other figure of the report.
        stored = {
            table: {w.start for w in trend if w != self._window and (table.metric, w.start) in standing}
            for table in METRIC_TABLES
        }
        revenue = self._closed("report_closed_revenue", _stored_revenue, Granularity.MONTH, stored[REVENUE_METRICS])
        users = self._closed("report_closed_users", _MonthUsers, Granularity.MONTH, stored[USER_METRICS])
        moved = self._closed("report_closed_movements", _stored_movements, Granularity.MONTH, stored[MRR_MOVEMENTS])
        for w, answers in self._revenues([w for w in trend if w.start not in stored[REVENUE_METRICS]]).items():
            revenue[w.start] = {key: _month_revenue(one) for key, one in answers.items()}
        for w, counts in self._users_of([w for w in trend if w.start not in stored[USER_METRICS]]).items():
            users[w.start] = {key: _month_users(one) for key, one in counts.items()}
        for w, movements in self._movements([w for w in trend if w.start not in stored[MRR_MOVEMENTS]]).items():
            moved[w.start] = {key: _month_movements(one) for key, one in movements.items()}
        version = {
            w: min(
                [standing[table.metric, w.start] for table, starts in stored.items() if w.start in starts],
                default=DEFINITIONS_VERSION,
            )
            for w in trend
        }
        return {
            key: [
                MonthFigures(
                    w.start.date(),
                    *revenue[w.start].get(key, _NO_MONTH_REVENUE),
                    *users[w.start].get(key, _NO_MONTH_USERS),
                    *moved[w.start].get(key, _NO_MONTH_MOVEMENTS),
                    version[w],
                )
                for w in trend
            ]
            for key in keys
        }

    def _quality(self, keys: Iterable[Key], *, has_raw: bool, provisional: bool) -> dict[Key, Quality]:
        raw = {key: RawEvents(*figures) for key, *figures in self._rows("report_raw")} if has_raw else {}
        closed = self._closed_figures(keys)
        rejects = self._listed("report_rejects", Rejects)
        causes = self._listed("report_changes", str, horizon=self._horizon)
        unclosed, open_days = ((), None) if provisional else (self._unclosed(), self._open_days())
        return {
            key: Quality(
                raw=raw.get(key, _NO_RAW) if has_raw else None,
                closed=closed.get(key),
                rejects=rejects[key],
                # What concerns no company in particular concerns every one.
                to_recompute=sorted({*causes[None], *(causes[key] if self._each else chain(*causes.values()))}),
                unclosed=unclosed,
                open_days=open_days,
            )
            for key in keys
        }

    def _granularity(self) -> Granularity | None:
        """Return of which granularity the window is a period, None when it is no day or month."""
        window = self._window
        return next((c for c in GRANULARITIES if window.is_aligned(c) and c.next(window.start) == window.end), None)

    def _unclosed(self) -> tuple[str, ...]:
        """Return the metrics that the window, a day or a month, is not closed of."""
        granularity = self._granularity()
        if granularity is None:
            return ()
        rows = self._rows(
            "report_unclosed",
            granularity=str(granularity),
            version=DEFINITIONS_VERSION,
            metrics=[table.metric for table in METRIC_TABLES],
            horizon=self._horizon,
        )
        return tuple(metric for (metric,) in rows)

    def _open_days(self) -> Window | None:
        """Return the days from the first to the last with events that an aggregate lacks; expired ones lack nothing."""
        spans = []
        for stale in stale_ranges(self._connection, self._window):
            granularity = _GRANULARITIES[stale.aggregate]
            first = stale.first if self._horizon is None else max(stale.first, granularity.ceil(self._horizon))
            if first <= stale.last:
                spans.append((Granularity.DAY.floor(first), Granularity.DAY.next(Granularity.DAY.floor(stale.last))))
        return Window(min(start for start, _ in spans), max(end for _, end in spans)) if spans else None

    def _closed_figures(self, keys: Iterable[Key]) -> dict[Key, ClosedFigures]:
        """Return what the metric tables hold of the window, nothing when it is no closed day or month."""
        window, start, granularity = self._window, self._window.start, self._granularity()
        if granularity is None:
            return {}
        closed = {p.metric for p in self._closed_periods(granularity, [window]) if p.version == DEFINITIONS_VERSION}
        if not closed:
            return {}

        def stored(table: MetricTable, query: str, kind: Callable[..., T], none: T) -> Callable[[Key], T | None]:
            if table.metric not in closed:
                return lambda _: None
            found = self._closed(query, kind, granularity, {start})[start]
            return lambda key: found.get(key, none)

        revenue = stored(REVENUE_METRICS, "report_closed_revenue", _stored_revenue, _NO_MONTH_REVENUE)
        moved = stored(MRR_MOVEMENTS, "report_closed_movements", _stored_movements, _NO_MONTH_MOVEMENTS)
        users = stored(USER_METRICS, "report_closed_users", _MonthUsers, _NO_MONTH_USERS)
        return {key: _closed_figures(revenue(key), moved(key), users(key)) for key in keys}

    def _closed_periods(self, granularity: Granularity, windows: Sequence[Window]) -> list[_ClosedPeriod]:
        """Return the periods closed in the currency."""
        over = Window(windows[0].start, windows[-1].end)
        converting = [table.metric for table in METRIC_TABLES if table.converts]
        rows = self._rows(
            "report_closed_periods",
            over,
            granularity=str(granularity),
            version=DEFINITIONS_VERSION,
            converting=converting,
            horizon=self._horizon,
        )
        return [_ClosedPeriod(*row) for row in rows]

    def _closed(
        self, query: str, kind: Callable[..., T], granularity: Granularity, starts: Collection[datetime]
    ) -> defaultdict[datetime, dict[Key, T]]:
        found: defaultdict[datetime, dict[Key, T]] = defaultdict(dict)
        if starts:
            for key, start, *figures in self._rows(query, granularity=str(granularity), starts=list(starts)):
                found[start][key] = kind(*figures)
        return found


def _earlier(instant: datetime | None, end: datetime) -> datetime | None:
    return None if instant is None else min(instant, end)


def _read_once(
    known: dict[Window, dict[Key, T]],
    windows: Sequence[Window],
    read: Callable[[Sequence[Window]], dict[Window, dict[Key, T]]],
) -> dict[Window, dict[Key, T]]:
    """Return what is known of windows, having read, and noted as known, what was not."""
    if missing := [window for window in windows if window not in known]:
        known |= read(missing)
    return {window: known[window] for window in windows}


def _by_window(
    windows: Iterable[Window], asked: Iterable[CompanyWindow], figures: Iterable[T | None]
) -> dict[Window, dict[Key, T]]:
    """Return by window the figures of whoever was asked for, which are in the same order; None is left out."""
    found: dict[Window, dict[Key, T]] = {window: {} for window in windows}
    for (key, window), one in zip(asked, figures, strict=True):
        if one is not None:
            found[window][key] = one
    return found


def _period_revenue(figures: RevenueFigures) -> PeriodRevenue:
    return PeriodRevenue(figures.metrics, frozenset(row.figure for row in figures.unconverted))


def _month_revenue(revenue: RevenueFigures) -> _MonthRevenue:
    figures = revenue.metrics
    return _MonthRevenue(
        figures.total_revenue,
        figures.revenue_growth,
        figures.invoiced,
        figures.refunds,
        figures.mrr,
        figures.paying_customers,
        frozenset(row.figure for row in revenue.unconverted),
    )


def _stored_revenue(*row: Any) -> _MonthRevenue:
    return _MonthRevenue(*row)._replace(incomplete=frozenset(row[-1]))


def _stored_movements(*row: Any) -> _MonthMovements:
    *amounts, is_incomplete = row
    return _MonthMovements(MrrMovements(*amounts), is_incomplete)


def _month_movements(figures: MrrFigures) -> _MonthMovements:
    return _MonthMovements(figures.movements, is_incomplete=bool(figures.unconverted))


def _month_users(figures: UserMetrics) -> _MonthUsers:
    return _MonthUsers(figures.total_users, figures.active_users, figures.new_users, figures.churned_users)


def _closed_figures(
    revenue: _MonthRevenue | None, moved: _MonthMovements | None, users: _MonthUsers | None
) -> ClosedFigures:
    return ClosedFigures(
        total_revenue=None if revenue is None else revenue.total_revenue,
        invoiced=None if revenue is None else revenue.invoiced,
        mrr=None if revenue is None else revenue.mrr,
        start_mrr=None if moved is None else moved.movements.start,
        total_users=None if users is None else users.total_users,
        active_users=None if users is None else users.active_users,
        new_users=None if users is None else users.new_users,
        churned_users=None if users is None else users.churned_users,
    )
