"""Writes closed periods straight into the metric tables, as closing would."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity

Missing = dict[str, list[str]]


def start_of(period: str) -> datetime:
    """Return the start of a day (2026-01-31) or a month (2026-01), UTC."""
    return datetime.fromisoformat(f"{period}-01" if len(period) == 7 else period).replace(tzinfo=UTC)


def granularity_of(period: str) -> Granularity:
    return Granularity.MONTH if len(period) == 7 else Granularity.DAY


def close_revenue(
    connection: Connection,
    period: str,
    revenue: dict[str, str],
    *,
    currency: str = "EUR",
    unconverted: Missing | None = None,
    version: int = DEFINITIONS_VERSION,
    restated_from: int | None = None,
) -> None:
    """Close a day or month of revenue_metrics anew, with the revenue of companies; ``unconverted``: their figures.

    ``version`` of the definitions computes it, and nothing but that has changed it since it was ``restated_from``.
    """
    rows = [
        {
            "total_revenue": Decimal(amount),
            "unconverted": Jsonb([{"figure": f} for f in (unconverted or {}).get(c, [])]),
        }
        for c, amount in revenue.items()
    ]
    zero = dict.fromkeys(
        ("previous_revenue", "invoiced", "refunds", "mrr", "arr", "paying_customers", "total_users"), 0
    )
    rows = [{**zero, "currency": currency, **row} for row in rows]
    _close(connection, "revenue_metrics", period, list(revenue), rows, currency, version, restated_from)


def close_users(connection: Connection, period: str, active: dict[str, int]) -> None:
    """Close a day or month of user_metrics anew, with the active users of companies out of 100."""
    zero = dict.fromkeys(("new_users", "churned_users", "users_at_start", "active_before", "active_fingerprint"), 0)
    rows: list[dict[str, object]] = [{**zero, "total_users": 100, "active_users": users} for users in active.values()]
    _close(connection, "user_metrics", period, list(active), rows, "EUR")


def _close(
    connection: Connection,
    metric: str,
    period: str,
    companies: list[str],
    rows: list[dict[str, object]],
    currency: str,
    version: int = DEFINITIONS_VERSION,
    restated_from: int | None = None,
) -> None:
    start, granularity = start_of(period), granularity_of(period)
    common = {
        "granularity": str(granularity),
        "period_start": start,
        "period_end": granularity.next(start),
        "definitions_version": version,
    }
    key = "granularity = %(granularity)s AND period_start = %(period_start)s"
    with connection.transaction():
        connection.execute(f"DELETE FROM analytics_{metric} WHERE {key}", common)
        for company, row in zip(companies, rows, strict=True):
            _insert(connection, f"analytics_{metric}", {**common, "company_id": company, **row})
        if rows:
            _insert(connection, f"analytics_{metric}", {**common, **_together(rows)})
        connection.execute(f"DELETE FROM analytics_metric_periods WHERE metric = '{metric}' AND {key}", common)
        _insert(
            connection,
            "analytics_metric_periods",
            {**common, "metric": metric, "currency": currency, "changes_seen": 0, "restated_from": restated_from},
        )


def _together(rows: list[dict[str, object]]) -> dict[str, object]:
    """Return the row over all companies."""
    summed: dict[str, object] = {}
    for name in rows[0]:
        values: list[Any] = [row[name] for row in rows]
        if name == "unconverted":
            summed[name] = Jsonb([entry for value in values for entry in value.obj])
        else:
            summed[name] = values[0] if name == "currency" else sum(values)
    return summed


def _insert(connection: Connection, table: str, values: dict[str, object]) -> None:
    names = ", ".join(values)
    places = ", ".join(f"%({name})s" for name in values)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", values)
