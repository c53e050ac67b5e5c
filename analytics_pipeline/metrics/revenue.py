"""Revenue figures: thin typed calls of ``sql/functions/{revenue,movements,metrics}.sql``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from analytics_pipeline.errors import ArgumentError
from analytics_pipeline.metrics.periods import CompanyWindow, period_parameters
from analytics_pipeline.metrics.rates import SubscriptionRates
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import HorizonError
from analytics_pipeline.windows import Granularity, Window

T = TypeVar("T")

OF_TOTAL_REVENUE = ("totalRevenue", "refunds")
"""The figures under which amounts that total revenue lacks are listed: refunds stand apart from payments."""


@dataclass(frozen=True, slots=True)
class CurrencyRevenue:
    """Revenue of a period in one currency: payments minus refunds, exact; ``refunds`` is positive."""

    currency: str
    revenue: Decimal
    refunds: Decimal
    transactions: int


@dataclass(frozen=True, slots=True)
class RevenueMetrics:
    """The revenue answer's figures of a period, unrounded, in the reporting currency.

    A ratio is None without a base, or while an amount of it lacks a rate; ``invoiced`` where events that it needs have
    expired. ``refunds`` is positive; ``total_users`` is what ``average_revenue_per_user`` is per.
    """

    total_revenue: Decimal
    mrr: Decimal
    arr: Decimal
    average_revenue_per_user: Decimal | None
    revenue_growth: Decimal | None
    invoiced: Decimal | None
    refunds: Decimal
    paying_customers: int
    arpa: Decimal | None
    total_users: int


@dataclass(frozen=True, slots=True)
class MrrMovements:
    """MRR at a period's start and end and what moved it, unrounded, in the reporting currency.

    ``start + new + reactivation + expansion - contraction - churn + fx = end`` holds exactly.
    """

    start: Decimal
    new: Decimal
    reactivation: Decimal
    expansion: Decimal
    contraction: Decimal
    churn: Decimal
    fx: Decimal
    end: Decimal


@dataclass(frozen=True, slots=True)
class Unconverted:
    """An amount that is left out for want of a rate, in its own currency: the answer's field that lacks it, its days.

    ``part`` is what of a figure with several it is: of ``mrrMovements`` the movement, or ``start`` or ``end``, of
    ``revenueGrowth`` the ``refunds`` of the previous period. Gains and losses, payments and refunds are apart, those of
    movements and refunds positive.
    """

    figure: str
    currency: str
    amount: Decimal
    first_day: date
    last_day: date
    part: str | None = None


@dataclass(frozen=True, slots=True)
class PeriodFigures:
    """One hour, day or month of a series: its start and its end, and its figures, amounts in the reporting currency.

    ``invoiced`` is None where events that it needs have expired.
    """

    rates: SubscriptionRates
    start: datetime
    end: datetime
    total_revenue: Decimal
    invoiced: Decimal | None
    refunds: Decimal
    mrr: Decimal
    paying_customers: int
    total_users: int
    active_users: int
    new_users: int


class RevenueFigures(NamedTuple):
    """The revenue figures of a period, what they lack for want of a rate, and whether nothing is known of it."""

    metrics: RevenueMetrics
    unconverted: tuple[Unconverted, ...]
    is_empty: bool


class MrrFigures(NamedTuple):
    """What moved MRR in a period, the rates that follow, what they lack, and whether there was no MRR at all."""

    movements: MrrMovements
    rates: SubscriptionRates
    unconverted: tuple[Unconverted, ...]
    is_empty: bool


def revenue_figures(
    connection: Connection, periods: Sequence[CompanyWindow], currency: str, *, as_stored: bool = False
) -> list[RevenueFigures]:
    """Return the revenue figures of many periods at once, in their order, in a reporting currency.

    ``as_stored``: closed periods are read from their rows, where these are what computing them gives.
    Raises ``HorizonError`` where an hour that a date of another zone than UTC cuts has lost its events.
    """
    stored = "stored_revenue_of_periods" if as_stored else None
    rows = _of_periods(connection, "revenue_of_periods", stored, periods, currency)
    found = []
    for row, (_, window) in zip(rows, periods, strict=True):
        _require_revenue(row["total_revenue"], window)
        found.append(RevenueFigures(_named(RevenueMetrics, row), _listed(row["lacking"]), row["is_empty"]))
    return found


def mrr_figures(
    connection: Connection, periods: Sequence[CompanyWindow], currency: str, *, as_stored: bool = False
) -> list[MrrFigures]:
    """Return what moved monthly recurring revenue in many periods at once, in their order.

    ``as_stored``: closed periods are read from their rows, where these are what computing them gives.
    """
    stored = "stored_movements_of_periods" if as_stored else None
    return [
        MrrFigures(
            _named(MrrMovements, row), _named(SubscriptionRates, row), _listed(row["lacking"]), is_empty=row["is_empty"]
        )
        for row in _of_periods(connection, "movements_of_periods", stored, periods, currency)
    ]


def revenue_metrics(
    connection: Connection, company_id: str | None, window: Window, currency: str, *, as_stored: bool = False
) -> RevenueMetrics:
    """Return the revenue figures of any window in a reporting currency; ``None`` means all companies."""
    (figures,) = revenue_figures(connection, [(company_id, window)], currency, as_stored=as_stored)
    return figures.metrics


def unconverted(connection: Connection, company_id: str | None, window: Window, currency: str) -> list[Unconverted]:
    """Return the amounts of a window that are left out because no rate is known, over all its companies."""
    (revenue,) = revenue_figures(connection, [(company_id, window)], currency)
    (mrr,) = mrr_figures(connection, [(company_id, window)], currency)
    return all_unconverted(revenue, mrr)


def all_unconverted(revenue: RevenueFigures, mrr: MrrFigures) -> list[Unconverted]:
    """Return what the figures of one period lack, in order; a balance at the end is listed by both."""
    return sorted(
        {*revenue.unconverted, *mrr.unconverted},
        key=lambda row: (row.figure, row.part or "", row.currency, row.amount),
    )


def _of_periods(
    connection: Connection, computed: str, stored: str | None, periods: Sequence[CompanyWindow], currency: str
) -> list[dict[str, Any]]:
    """Return the row of each period, in their order: those that the second query finds, the others from the first."""
    rows = {}
    if stored is not None:
        parameters = {**period_parameters(periods), "currency": currency, "version": DEFINITIONS_VERSION}
        rows = {row["place"]: row for row in _rows(connection, stored, parameters)}
    others = [place for place in range(1, len(periods) + 1) if place not in rows]
    if others:
        parameters = {**period_parameters([periods[place - 1] for place in others]), "currency": currency}
        rows |= zip(others, _rows(connection, computed, parameters), strict=True)
    return [rows[place] for place in range(1, len(periods) + 1)]


def _listed(unconverted: str) -> tuple[Unconverted, ...]:
    return tuple(
        Unconverted(
            entry["figure"],
            entry["currency"],
            Decimal(entry["amount"]),
            date.fromisoformat(entry["first_day"]),
            date.fromisoformat(entry["last_day"]),
            entry.get("part"),
        )
        # A float would lose digits.
        for entry in json.loads(unconverted, parse_float=Decimal)
    )


def period_figures(
    connection: Connection, company_id: str | None, window: Window, granularity: Granularity, currency: str
) -> list[PeriodFigures]:
    """Return the figures of each hour, day or month of a window, in order, as its time zone counts them.

    Raises ``AnalyticsError`` for a window that does not begin and end on the granularity's boundaries, ``HorizonError``
    as ``revenue_figures`` does.
    """
    if not window.is_aligned(granularity):
        raise ArgumentError(f"A series by {granularity} needs whole {granularity}s, not {window}.")
    parameters = {
        "company": company_id,
        "start": window.start,
        "end": window.end,
        "granularity": str(granularity),
        "currency": currency,
        "zone": window.time_zone,
    }
    found = []
    for row in _rows(connection, "period_figures", parameters):
        _require_revenue(row["total_revenue"], window)
        found.append(_named(PeriodFigures, {**row, "rates": _named(SubscriptionRates, row)}))
    return found


def _require_revenue(total: Decimal | None, window: Window) -> None:
    if total is None:
        raise HorizonError(
            f"The revenue of {window} can't be told apart from that of the days around it: {window.time_zone} cuts "
            "hours of UTC, and the events of these hours have expired. Ask for days of UTC."
        )


def _rows(connection: Connection, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return rows by the names of their columns."""
    cursor = connection.execute(load_query(query), parameters)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _named(kind: type[T], row: Mapping[str, Any]) -> T:
    """Return the dataclass whose fields are columns of the row."""
    return kind(**{each.name: row[each.name] for each in fields(kind)})  # type: ignore[arg-type]  # of a dataclass


def revenue_by_currency(connection: Connection, company_id: str | None, window: Window) -> list[CurrencyRevenue]:
    """Return the revenue of any window per original currency; ``None`` means all companies."""
    rows = connection.execute(
        "SELECT currency, revenue, refunds, transactions FROM analytics_revenue_by_currency(%s, %s, %s)",
        [company_id, window.start, window.end],
    ).fetchall()
    return [CurrencyRevenue(*row) for row in rows]
