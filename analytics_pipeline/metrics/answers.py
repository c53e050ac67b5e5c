"""Puts figures and their scope together as the answers of DEFINITIONS: field names are a public contract.

Every number is rounded once, as the last thing done to it (``currencies``).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from psycopg.pq import TransactionStatus

from analytics_pipeline.currencies import money, percent, ratio, round_money
from analytics_pipeline.errors import ArgumentError
from analytics_pipeline.metrics.crypto import asset_volumes
from analytics_pipeline.metrics.partitions import closing_stretches
from analytics_pipeline.metrics.periods import split_window
from analytics_pipeline.metrics.rates import RATES, SubscriptionRates, Unit, answer_key
from analytics_pipeline.metrics.revenue import (
    MrrMovements,
    Unconverted,
    all_unconverted,
    mrr_figures,
    period_figures,
    revenue_figures,
    unconverted,
)
from analytics_pipeline.metrics.rounding import round_movements
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION, Scope, scope
from analytics_pipeline.metrics.signoffs import SignOff, read_signoffs
from analytics_pipeline.metrics.top_events import top_events
from analytics_pipeline.metrics.users import UserMetrics, are_users_kept, require_raw_users, user_figures, user_metrics
from analytics_pipeline.timescale.connection import Connection, one_state
from analytics_pipeline.windows import Granularity, Window

_MAX_PERIODS = 1_000

Answer = dict[str, Any]


def revenue_answer(connection: Connection, company_id: str | None, window: Window, currency: str) -> Answer:
    """Return the revenue answer of a window of whole days; ``None`` means all companies.

    Amounts are ``Decimal`` in the reporting currency; a ratio without a base is None.
    """
    with one_view(connection):
        (revenue,) = revenue_figures(connection, [(company_id, window)], currency, as_stored=True)
        (mrr,) = mrr_figures(connection, [(company_id, window)], currency, as_stored=True)
        figures = revenue.metrics
        return {
            "mrr": round_money(figures.mrr, currency),
            "arr": round_money(figures.arr, currency),
            "totalRevenue": round_money(figures.total_revenue, currency),
            "averageRevenuePerUser": money(figures.average_revenue_per_user, currency),
            "revenueGrowth": percent(figures.revenue_growth),
            "currency": currency,
            **_scope(scope(connection, company_id, window)),
            "invoiced": money(figures.invoiced, currency),
            "refunds": round_money(figures.refunds, currency),
            "payingCustomers": figures.paying_customers,
            "arpa": money(figures.arpa, currency),
            "mrrMovements": _movements(mrr.movements, currency),
            **_subscription_rates(mrr.rates, currency),
            "unconverted": _unconverted(all_unconverted(revenue, mrr)),
            "definitionsVersion": DEFINITIONS_VERSION,
        }


def movements_answer(connection: Connection, company_id: str | None, window: Window, currency: str) -> Answer:
    """Return MRR at the start and the end of a window of whole days, and what moved it."""
    with one_view(connection):
        (mrr,) = mrr_figures(connection, [(company_id, window)], currency, as_stored=True)
        return {
            **_movements(mrr.movements, currency),
            "currency": currency,
            **_scope(scope(connection, company_id, window)),
            "unconverted": _unconverted(mrr.unconverted),
            "definitionsVersion": DEFINITIONS_VERSION,
        }


def users_answer(connection: Connection, company_id: str | None, window: Window) -> Answer:
    """Return the user answer of a window of whole days; ``None`` means all companies.

    Raises ``HorizonError`` where raw events it needs have expired.
    """
    with one_view(connection):
        figures = user_metrics(connection, company_id, window)
        return {
            **_users(figures),
            **_scope(scope(connection, company_id, window)),
            "usersAtStart": figures.users_at_start,
            "activeBefore": figures.active_before,
            "churnRateOfStart": percent(figures.churn_rate_of_start),
            "definitionsVersion": DEFINITIONS_VERSION,
        }


def crypto_answer(connection: Connection, company_id: str | None, window: Window, currency: str) -> Answer:
    """Return what was received, sent and swapped of each asset in a window, and its value; ``None``: all companies.

    Quantities are in the asset's ticker, values in the reporting currency at the rates of the days: None while one of
    the days lacks a rate.
    """
    with one_view(connection):
        return {
            "assets": [
                {
                    "asset": asset.ticker,
                    "received": round_money(asset.received, asset.ticker),
                    "receivedValue": money(asset.received_value, currency),
                    "sent": round_money(asset.sent, asset.ticker),
                    "sentValue": money(asset.sent_value, currency),
                    "swapped": round_money(asset.swapped, asset.ticker),
                    "swappedValue": money(asset.swapped_value, currency),
                    "transactions": asset.transactions,
                }
                for asset in asset_volumes(connection, company_id, window, currency)
            ],
            "currency": currency,
            **_scope(scope(connection, company_id, window)),
            "definitionsVersion": DEFINITIONS_VERSION,
        }


def series_answer(
    connection: Connection, company_id: str | None, window: Window, currency: str, granularity: Granularity
) -> Answer:
    """Return the figures of each hour, day or month of a window.

    Entries are those of the window's time zone. Raises ``AnalyticsError`` for a window that doesn't fit the granularity
    or holds too many periods, ``HorizonError`` where raw events it needs have expired.
    """
    with one_view(connection):
        entries = _periods(connection, window, granularity)
        require_raw_users(connection, entries[0])
        periods = period_figures(connection, company_id, window, granularity, currency)
        return {
            "series": [
                {
                    **_start(entry, granularity),
                    "totalRevenue": round_money(period.total_revenue, currency),
                    "invoiced": money(period.invoiced, currency),
                    "refunds": round_money(period.refunds, currency),
                    "mrr": round_money(period.mrr, currency),
                    "payingCustomers": period.paying_customers,
                    "totalUsers": period.total_users,
                    "activeUsers": period.active_users,
                    "newUsers": period.new_users,
                    **_subscription_rates(period.rates, currency),
                }
                for entry, period in zip(entries, periods, strict=True)
            ],
            "interval": str(granularity),
            "currency": currency,
            **_scope(scope(connection, company_id, window)),
            "unconverted": _unconverted(unconverted(connection, company_id, window, currency)),
            "definitionsVersion": DEFINITIONS_VERSION,
        }


def revenue_series_answer(
    connection: Connection, company_id: str | None, window: Window, currency: str, granularity: Granularity
) -> Answer:
    """Return revenue, MRR and the rates of each hour, day or month of a window.

    Raises ``AnalyticsError`` for a window that doesn't fit the granularity or holds too many periods.
    """
    with one_view(connection):
        periods = _periods(connection, window, granularity)
        asked = [(company_id, period) for period in periods]
        revenues = revenue_figures(connection, asked, currency)
        mrrs = mrr_figures(connection, asked, currency)
        return {
            "series": [
                {
                    **_start(period, granularity),
                    "totalRevenue": round_money(revenue.metrics.total_revenue, currency),
                    "invoiced": money(revenue.metrics.invoiced, currency),
                    "refunds": round_money(revenue.metrics.refunds, currency),
                    "mrr": round_money(revenue.metrics.mrr, currency),
                    "payingCustomers": revenue.metrics.paying_customers,
                    **_subscription_rates(mrr.rates, currency),
                }
                for period, revenue, mrr in zip(periods, revenues, mrrs, strict=True)
            ],
            "interval": str(granularity),
            "currency": currency,
            **_scope(scope(connection, company_id, window)),
            "unconverted": _unconverted(unconverted(connection, company_id, window, currency)),
            "definitionsVersion": DEFINITIONS_VERSION,
        }


def users_series_answer(
    connection: Connection, company_id: str | None, window: Window, granularity: Granularity
) -> Answer:
    """Return the user figures of each day or month of a window.

    Raises ``AnalyticsError`` for a window that doesn't fit the granularity or holds too many periods, ``HorizonError``
    where raw events it needs have expired.
    """
    with one_view(connection):
        periods = _periods(connection, window, granularity)
        require_raw_users(connection, periods[0])
        found = user_figures(connection, [(company_id, period) for period in periods])
        return {
            "series": [
                {**_start(period, granularity), **_users(users.metrics)}
                for period, users in zip(periods, found, strict=True)
            ],
            "interval": str(granularity),
            **_scope(scope(connection, company_id, window)),
            "definitionsVersion": DEFINITIONS_VERSION,
        }


def companies_answer(connection: Connection, companies: Sequence[str], window: Window, currency: str) -> Answer:
    """Return the headline figures of companies side by side, the one with the most revenue first.

    Users are None where raw events they need have expired.
    """
    periods = [(company, window) for company in companies]
    with one_view(connection):
        users: list[UserMetrics | None] = [None] * len(companies)
        if are_users_kept(connection, window):
            users = [figures.metrics for figures in user_figures(connection, periods)]
        revenues = [figures.metrics for figures in revenue_figures(connection, periods, currency, as_stored=True)]
        found = sorted(zip(companies, revenues, users, strict=True), key=lambda row: (-row[1].total_revenue, row[0]))
        return {
            "companies": [
                {
                    "companyId": company,
                    "mrr": round_money(revenue.mrr, currency),
                    "arr": round_money(revenue.arr, currency),
                    "totalRevenue": round_money(revenue.total_revenue, currency),
                    "averageRevenuePerUser": money(revenue.average_revenue_per_user, currency),
                    "revenueGrowth": percent(revenue.revenue_growth),
                    "payingCustomers": revenue.paying_customers,
                    "totalUsers": revenue.total_users,
                    "activeUsers": None if of_company is None else of_company.active_users,
                    "newUsers": None if of_company is None else of_company.new_users,
                }
                for company, revenue, of_company in found
            ],
            "currency": currency,
            **_scope(scope(connection, None, window)),
            "definitionsVersion": DEFINITIONS_VERSION,
        }


def partitions_answer(connection: Connection, window: Window) -> Answer:
    """Return what of each asset is closed, stale (closed, and changed since) or open within a window.

    An open partition was begun and is not proved; of what nobody has begun there is no stretch.
    """
    with one_view(connection):
        return {
            "partitions": [
                {
                    "asset": asset,
                    "state": state,
                    "start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
                    "end": f"{end:%Y-%m-%dT%H:%M:%SZ}",
                }
                for asset, state, start, end in closing_stretches(connection, window)
            ],
            **_scope(scope(connection, None, window)),
            "definitionsVersion": DEFINITIONS_VERSION,
        }


def signoffs_answer(connection: Connection, company_id: str | None, window: Window) -> Answer:
    """Return which of the months that begin in a window are signed off, and what differs from the signed figures.

    With None of every company, and of all together.
    """
    with one_view(connection):
        return {
            "signoffs": [signoff_answer(signoff) for signoff in read_signoffs(connection, company_id, window)],
            **_scope(scope(connection, company_id, window)),
            "definitionsVersion": DEFINITIONS_VERSION,
        }


def signoff_answer(signoff: SignOff) -> Answer:
    """Return a sign-off with the figures that differ from the signed ones, and what has changed since."""
    withdrawal = signoff.withdrawal
    return {
        "month": signoff.period,
        "companyId": signoff.company_id,
        "signedBy": signoff.signed_by,
        "signedAt": _instant(signoff.signed_at),
        "definitionsVersion": signoff.definitions_version,
        "currency": signoff.currency,
        "document": {
            "id": signoff.document_id,
            "sha256": signoff.document_sha256,
            "isCurrent": signoff.document_is_current,
        },
        "restatements": [
            {
                "figure": restated.name,
                # A message is a text, but none that JSON is made of.
                "label": str(restated.label),
                "unit": str(restated.unit),
                "before": restated.before,
                "after": restated.after,
                "difference": restated.difference,
            }
            for restated in signoff.restatements
        ],
        "causes": [
            {
                "cause": cause.kind,
                "number": cause.number,
                "first": _instant(cause.first),
                "last": _instant(cause.last),
                "text": str(cause),
            }
            for cause in signoff.causes
        ],
        "withdrawn": None
        if withdrawal is None
        else {"at": _instant(withdrawal.at), "by": withdrawal.by, "because": withdrawal.because},
    }


def top_events_answer(connection: Connection, company_id: str | None, window: Window, most: int) -> Answer:
    """Return the most frequent event types of a window."""
    with one_view(connection):
        return {
            "topEvents": [
                {"eventType": row.event_type, "category": row.category, "events": row.events}
                for row in top_events(connection, company_id, window, most)
            ],
            **_scope(scope(connection, company_id, window)),
            "definitionsVersion": DEFINITIONS_VERSION,
        }


@contextmanager
def one_view(connection: Connection) -> Iterator[None]:
    """Let every statement of an answer see the same data: what is added meanwhile is in all of it, or in none.

    A connection that is inside a transaction keeps that one, which has to be as strict: its caller reads more in it.
    """
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        yield
        return
    with one_state(connection):
        # Workers cost more to start than any of these queries takes.
        connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        yield


def _periods(connection: Connection, window: Window, granularity: Granularity) -> list[Window]:
    if not window.is_aligned(granularity):
        raise ArgumentError(f"A series by {granularity} needs whole {granularity}s, not {window}.")
    if window.count(granularity) > _MAX_PERIODS:
        raise ArgumentError(f"{window} holds more than {_MAX_PERIODS:,} {granularity}s: ask for less, or by month.")
    return split_window(connection, window, granularity)


def _start(period: Window, granularity: Granularity) -> Answer:
    """Return what an entry of a series is of: as its time zone counts, and the instants between which it lies."""
    match granularity:
        case Granularity.HOUR:
            start = f"{period.start:%Y-%m-%dT%H:%MZ}"
        case Granularity.DAY:
            start = f"{period.first_day:%Y-%m-%d}"
        case Granularity.MONTH:
            start = f"{period.first_day:%Y-%m}"
    return {"start": start, "startsAt": _instant(period.start), "endsAt": _instant(period.end)}


def _users(figures: UserMetrics) -> Answer:
    return {
        "totalUsers": figures.total_users,
        "activeUsers": figures.active_users,
        "newUsers": figures.new_users,
        "churnedUsers": figures.churned_users,
        "churnRate": percent(figures.churn_rate),
        "activeUserRate": percent(figures.active_user_rate),
    }


def _scope(answered: Scope) -> Answer:
    return {
        "companyId": answered.company_id,
        "startDate": f"{answered.window.first_day:%Y-%m-%d}",
        "endDate": f"{answered.window.last_day:%Y-%m-%d}",
        "timeZone": answered.window.time_zone,
        "asOf": f"{answered.as_of:%Y-%m-%dT%H:%M:%SZ}",
        "dataThrough": f"{answered.data_through:%Y-%m-%dT%H:%M:%SZ}" if answered.data_through else None,
        "provisional": answered.provisional,
    }


def _movements(movements: MrrMovements, currency: str) -> Answer:
    shown = round_movements(movements, currency)
    return {
        "start": shown.start,
        "new": shown.new,
        "reactivation": shown.reactivation,
        "expansion": shown.expansion,
        "contraction": shown.contraction,
        "churn": shown.churn,
        "fx": shown.fx,
        "rounding": shown.rounding,
        "end": shown.end,
    }


def _subscription_rates(rates: SubscriptionRates, currency: str) -> Answer:
    return {answer_key(name): _shown(getattr(rates, name), rate.unit, currency) for name, rate in RATES.items()}


def _shown(value: Any, unit: Unit, currency: str) -> Any:
    match unit:
        case Unit.PERCENT:
            return percent(value)
        case Unit.RATIO:
            return ratio(value)
        case Unit.MONEY:
            return money(value, currency)
        case Unit.COUNT:
            return value


def _unconverted(missing: Iterable[Unconverted]) -> list[Answer]:
    return [
        {
            "figure": row.figure,
            **({"part": row.part} if row.part else {}),
            "currency": row.currency,
            "amount": round_money(row.amount, row.currency),
            "firstDate": f"{row.first_day}",
            "lastDate": f"{row.last_day}",
        }
        for row in missing
    ]


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
