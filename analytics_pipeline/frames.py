"""Answers, series, movements, closed figures and events as pandas DataFrames, for notebooks and assets of one's own.

Figures are exact and unrounded, as the functions and tables of the database give them. Numbers with decimal places are
``Decimal`` in columns of objects, so that no digit is lost, or floats with ``floats=True``; counts are nullable
integers (``Int64``), instants carry their zone (UTC), and what is undefined or unknown is missing, never 0. A column
has the same type whether there are rows or not. Every function takes an autocommit connection.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, cast, get_type_hints

import pandas as pd
from psycopg import sql

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.metrics.answers import one_view
from analytics_pipeline.metrics.crypto import AssetVolume, asset_volumes
from analytics_pipeline.metrics.periods import split_window
from analytics_pipeline.metrics.rates import SubscriptionRates
from analytics_pipeline.metrics.revenue import (
    MrrMovements,
    PeriodFigures,
    RevenueMetrics,
    mrr_figures,
    period_figures,
    revenue_metrics,
)
from analytics_pipeline.metrics.scope import Scope, scope
from analytics_pipeline.metrics.tables import MetricTable
from analytics_pipeline.metrics.users import UserMetrics, require_raw_users, user_metrics
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.hypertable import EVENT_COLUMNS
from analytics_pipeline.timescale.refresh import HorizonError, expired_events
from analytics_pipeline.windows import Granularity, Window

_DTYPES = {
    "bigint": "Int64",
    "integer": "Int64",
    "boolean": "boolean",
    "timestamptz": "datetime64[us, UTC]",
}
_TYPES: Mapping[type, str] = {
    Decimal: "numeric",
    bool: "boolean",
    int: "bigint",
    datetime: "timestamptz",
    str: "text",
}
# What stands before the figures of an answer; data_through and provisional are those of the answer (DEFINITIONS).
_SCOPE = {
    "company_id": "text",
    "period_start": "timestamptz",
    "period_end": "timestamptz",
    "data_through": "timestamptz",
    "provisional": "boolean",
}
_CURRENCY = {"currency": "text"}


@dataclass(frozen=True, slots=True)
class _Movements:
    movements: MrrMovements
    rates: SubscriptionRates


def revenue(
    connection: Connection, company_id: str | None, window: Window, currency: str, *, floats: bool = False
) -> pd.DataFrame:
    """Return the revenue answer of any window in a reporting currency, one row; ``None`` means all companies."""
    with one_view(connection):
        figures = revenue_metrics(connection, company_id, window, currency, as_stored=True)
        return _answer(scope(connection, company_id, window), currency, RevenueMetrics, [figures], floats=floats)


def movements(
    connection: Connection, company_id: str | None, window: Window, currency: str, *, floats: bool = False
) -> pd.DataFrame:
    """Return MRR at the start and the end of any window, what moved it, and the rates that follow, one row.

    ``None`` means all companies. ``start + new + reactivation + expansion - contraction - churn + fx = end`` holds
    exactly, but not of floats.
    """
    with one_view(connection):
        (figures,) = mrr_figures(connection, [(company_id, window)], currency, as_stored=True)
        rows = [_Movements(figures.movements, figures.rates)]
        return _answer(scope(connection, company_id, window), currency, _Movements, rows, floats=floats)


def users(connection: Connection, company_id: str | None, window: Window, *, floats: bool = False) -> pd.DataFrame:
    """Return the user answer of any window, one row; ``None`` means all companies.

    Raises ``HorizonError`` when raw events it needs have expired.
    """
    require_raw_users(connection, window)
    with one_view(connection):
        figures = user_metrics(connection, company_id, window)
        return _answer(scope(connection, company_id, window), None, UserMetrics, [figures], floats=floats)


def crypto(
    connection: Connection, company_id: str | None, window: Window, currency: str, *, floats: bool = False
) -> pd.DataFrame:
    """Return what was received, sent and swapped of each asset in any window, a row an asset; ``None``: all companies.

    Quantities are in the asset's ticker, values in the reporting currency, missing while a day of theirs lacks a rate.
    """
    with one_view(connection):
        volumes = asset_volumes(connection, company_id, window, currency)
        return _answer(scope(connection, company_id, window), currency, AssetVolume, volumes, floats=floats)


def series(
    connection: Connection,
    company_id: str | None,
    window: Window,
    granularity: Granularity,
    currency: str,
    *,
    floats: bool = False,
) -> pd.DataFrame:
    """Return the main figures of each hour, day or month of a window, a row a period, in order.

    The periods are those of the window's time zone; ``period_start`` and ``period_end`` are their instants.

    Raises ``AnalyticsError`` for a window that is not made of whole periods, ``HorizonError`` when raw events it needs
    have expired.
    """
    require_raw_users(connection, split_window(connection, window, granularity)[0])
    with one_view(connection):
        periods = period_figures(connection, company_id, window, granularity, currency)
    columns = {
        "company_id": "text",
        "period_start": "timestamptz",
        "period_end": "timestamptz",
        **_CURRENCY,
        **{name: kind for name, kind in _columns(PeriodFigures).items() if name not in ("start", "end")},
    }
    names = list(_columns(PeriodFigures))
    rows = []
    for period in periods:
        figures = dict(zip(names, _values(period), strict=True))
        rows.append((company_id, figures.pop("start"), figures.pop("end"), currency, *figures.values()))
    return _frame(columns, rows, floats=floats)


def closed(
    connection: Connection,
    table: MetricTable,
    granularity: Granularity,
    window: Window,
    company_id: str | None = None,
    *,
    floats: bool = False,
) -> pd.DataFrame:
    """Return the rows of a metric table for the closed dates whose partition starts in a window, by date and company.

    ``table`` is one of ``metrics.tables``, such as ``REVENUE_METRICS``: what its asset has closed. ``company_id`` is
    the company whose rows they are, None: those of each, without the platform's over all. Each row has the date of its
    company's time zone, and the instants at which that begins and ends. The columns are those of the table.
    """
    query = sql.SQL(
        "SELECT {} FROM {} WHERE granularity = %(granularity)s AND company_id IS NOT NULL "
        "AND period_date::timestamp AT TIME ZONE 'UTC' >= %(start)s "
        "AND period_date::timestamp AT TIME ZONE 'UTC' < %(end)s "
        "AND (%(company)s::text IS NULL OR company_id = %(company)s) ORDER BY period_date, company_id"
    ).format(sql.SQL(", ").join(map(sql.Identifier, table.columns)), sql.Identifier(table.table))
    parameters = {"granularity": str(granularity), "start": window.start, "end": window.end, "company": company_id}
    rows = connection.execute(query, parameters).fetchall()
    return _frame({name: column.type for name, column in table.columns.items()}, rows, floats=floats)


def events(
    connection: Connection, window: Window, company_id: str | None = None, *, floats: bool = False
) -> pd.DataFrame:
    """Return the events of any window in the order of their time, all of them in memory; ``None``: of all companies.

    ``event_id`` is a ``UUID``, ``metadata`` a dictionary. Raises ``HorizonError`` for a window of which events have
    expired or may expire at any moment.
    """
    if expired := [stretch for stretch in expired_events(connection) if stretch.overlaps(window)]:
        horizon = expired[-1].end
        raise HorizonError(
            f"The events of {window} are not all there: those before {horizon:%Y-%m-%d} (the retention horizon) have "
            "expired. Ask for a window after it, or for figures, which outlive the events."
        )
    query = sql.SQL(
        'SELECT {} FROM {} WHERE "timestamp" >= %(start)s AND "timestamp" < %(end)s '
        'AND (%(company)s::text IS NULL OR company_id = %(company)s) ORDER BY "timestamp", event_id'
    ).format(sql.SQL(", ").join(map(sql.Identifier, EVENT_COLUMNS)), sql.Identifier(EVENTS))
    parameters = {"start": window.start, "end": window.end, "company": company_id}
    rows = connection.execute(query, parameters).fetchall()
    return _frame({name: column.type for name, column in EVENT_COLUMNS.items()}, rows, floats=floats)


def _answer(
    answered: Scope, currency: str | None, kind: type, figures: Iterable[object], *, floats: bool
) -> pd.DataFrame:
    columns = {**_SCOPE, **(_CURRENCY if currency else {}), **_columns(kind)}
    window = answered.window
    before = (answered.company_id, window.start, window.end, answered.data_through, answered.provisional)
    rows = [(*before, *([currency] if currency else []), *_values(one)) for one in figures]
    return _frame(columns, rows, floats=floats)


def _columns(kind: type) -> dict[str, str]:
    """Return the fields of a dataclass of figures, each with the database's name of its type; one's in one are its."""
    columns: dict[str, str] = {}
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(hint):
            columns |= _columns(cast("type", hint))
        else:
            columns[name] = next(_TYPES[one] for one in _TYPES if one in (hint, *getattr(hint, "__args__", ())))
    return columns


def _values(figures: Any) -> tuple[object, ...]:
    values: list[object] = []
    for field in fields(figures):
        value = getattr(figures, field.name)
        values += _values(value) if is_dataclass(value) else [value]
    return tuple(values)


def _frame(columns: Mapping[str, str], rows: Sequence[Sequence[object]], *, floats: bool) -> pd.DataFrame:
    """Return a frame of columns of the database's types, with the same types whether there are rows or not."""
    frame = pd.DataFrame(rows, columns=list(columns), dtype=object)
    dtypes = {name: "float64" if floats and kind == "numeric" else _DTYPES.get(kind) for name, kind in columns.items()}
    return frame.astype({name: dtype for name, dtype in dtypes.items() if dtype is not None})
