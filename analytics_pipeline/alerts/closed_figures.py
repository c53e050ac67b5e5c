"""The figures that rules compare: those of closed periods, as the metric tables have them, and why one is missing."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import Any

from psycopg import sql

from analytics_pipeline.alerts.rule_metrics import Metric
from analytics_pipeline.alerts.rules import EACH_COMPANY
from analytics_pipeline.currencies import CERTAIN_PLACES, PRECISION, rounded
from analytics_pipeline.languages.wording import message
from analytics_pipeline.metrics.rates import Unit
from analytics_pipeline.metrics.tables import MRR_MOVEMENTS, REVENUE_METRICS, USER_METRICS, MetricTable
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window, midnight

_CONTEXT = Context(prec=PRECISION)
_QUERIES = {
    REVENUE_METRICS.metric: "alert_revenue_metrics",
    MRR_MOVEMENTS.metric: "alert_mrr_movements",
    USER_METRICS.metric: "alert_user_metrics",
}
_NO_BASE = message("it has no base to be a part of")
_NO_FIGURES = message("there have been no figures up to then")
_NOT_KNOWN = message("it is not known of this period")
_INCOMPLETE = message("amounts without a rate of exchange are missing from it")
_NOT_CLOSED = {
    Granularity.DAY: message("the day is not closed"),
    Granularity.MONTH: message("the month is not closed"),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a closed period, ``value`` None with the reason why there is none; its currency, if it has one."""

    value: Decimal | None
    currency: str | None = None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class ClosedPeriod:
    """What a closed period was computed by: its reporting currency, and the version of the definitions.

    ``is_restated``: it was closed before by another version, and nothing but that has changed it since.
    """

    currency: str
    definitions_version: int
    is_restated: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one metric table over a span of days or months, by the partition that has a date's name (UTC).

    ``closed``: the periods that are, by their start. ``since``: companies and their first period.
    """

    granularity: Granularity
    closed: Mapping[datetime, ClosedPeriod]
    since: Mapping[str, datetime]
    rows: Mapping[tuple[str | None, datetime], Mapping[str, Any]]

    def of(self, metric: Metric, company: str | None, period: datetime) -> Figure:
        """Return a figure of a company, None: of all together, in the period that starts then.

        Without a row money and counts are zero (DEFINITIONS), once a company has had figures at all.
        """
        if period not in self.closed:
            return Figure(None, missing=_NOT_CLOSED[self.granularity])
        row = self.rows.get((company, period))
        # A company's own, as its row has it.
        own = None if row is None else row.get("currency")
        currency = (own or self.closed[period].currency) if metric.unit is Unit.MONEY else None
        if row is None:
            return self._without_row(metric, company, period, currency)
        if any(part in row["incomplete"] for part in metric.parts):
            return Figure(None, currency, _INCOMPLETE)
        value = row[metric.name]
        if value is None:
            return Figure(None, currency, _NOT_KNOWN if metric.unit is Unit.COUNT else _NO_BASE)
        return Figure(certain(Decimal(value)), currency)

    def _without_row(self, metric: Metric, company: str | None, period: datetime, currency: str | None) -> Figure:
        if not self._is_known(company, period):
            return Figure(None, currency, _NO_FIGURES)
        if metric.ratio:
            return Figure(None, currency, _NO_BASE)
        return Figure(Decimal(0), currency)

    def _is_known(self, company: str | None, period: datetime) -> bool:
        first = min(self.since.values(), default=None) if company is None else self.since.get(company)
        return first is not None and first <= period


def read_figures(
    connection: Connection,
    table: MetricTable,
    granularity: Granularity,
    span: Window,
    companies: Collection[str | None],
) -> Figures:
    """Read the figures of a span: of the companies named, ``EACH_COMPANY`` for every one, None for all together."""
    parameters = {
        "metric": table.metric,
        "granularity": str(granularity),
        "first": span.start.date(),
        "until": span.end.date(),
        "companies": None if EACH_COMPANY in companies else [company for company in companies if company is not None],
        "all_companies": None in companies,
    }
    closed = connection.execute(load_query("alert_closed_periods"), parameters).fetchall()
    since = connection.execute(
        sql.SQL(load_query("alert_companies")).format(table=sql.Identifier(table.table)), parameters
    ).fetchall()
    cursor = connection.execute(load_query(_QUERIES[table.metric]), parameters)
    names = [column.name for column in cursor.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    return Figures(
        granularity,
        closed={start: ClosedPeriod(*of_row) for start, *of_row in closed},
        since=dict(since),
        rows={(row["company_id"], row["partition_start"]): row for row in rows},
    )


def certain(value: Decimal) -> Decimal:
    """Return a figure without the residue of divisions, which would tell equal figures apart."""
    return rounded(value, CERTAIN_PLACES).normalize(_CONTEXT)


def latest_closed(connection: Connection, table: MetricTable, granularity: Granularity) -> Window | None:
    """Return the newest day or month of a metric table that is closed for every company, None without any."""
    (day,) = fetch_row(connection, "SELECT analytics_closed_through(%s, %s)", [table.metric, str(granularity)])
    return None if day is None else Window(midnight(day), granularity.next(midnight(day)))


def periods_before(granularity: Granularity, start: datetime, count: int) -> datetime:
    """Return the start of the day or month so many before the one that starts then."""
    for _ in range(count):
        start = granularity.floor(start - timedelta(microseconds=1))
    return start
