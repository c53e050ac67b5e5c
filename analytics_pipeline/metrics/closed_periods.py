"""The figures that say most of each closed day or month, over all companies, as they are shown beside its partition."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from psycopg import sql

from analytics_pipeline.currencies import round_money
from analytics_pipeline.metrics.tables import MetricTable
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window


@dataclass(slots=True)
class ClosedPeriod:
    """A closed day or month: how many companies the metric table has rows of, and the figures over all by their names.

    An amount is rounded to the digits of its currency, which its name says, as in ``MRR (EUR)``; a figure that is not
    known is left out.
    """

    rows: int
    figures: dict[str, Decimal | int] = field(default_factory=dict)


def closed_periods(
    connection: Connection, table: MetricTable, granularity: Granularity, window: Window
) -> dict[datetime, ClosedPeriod]:
    """Return by its start each partition of a half-open window that the metric table has rows of."""
    query = sql.SQL(load_query("closed_headlines")).format(
        table=sql.Identifier(table.table),
        currency=sql.Identifier("t", "currency") if table.converts else sql.NULL,
        figures=sql.SQL(", ").join(sql.Identifier("t", column) for column in table.headlines),
    )
    parameters = {"granularity": str(granularity), "first": window.start.date(), "until": window.end.date()}
    periods: dict[datetime, ClosedPeriod] = {}
    for start, rows, currency, *figures in connection.execute(query, parameters).fetchall():
        period = periods.setdefault(start, ClosedPeriod(rows))
        for label, figure in zip(table.headlines.values(), figures, strict=True):
            if isinstance(figure, Decimal):
                period.figures[f"{label} ({currency})"] = round_money(figure, currency)
            elif figure is not None:
                period.figures[label] = figure
    return periods


def rows_by_day(connection: Connection, table: str, instant: str, window: Window) -> dict[datetime, int]:
    """Return how many rows of a table have an instant on each day (UTC) of a half-open window, by the day's start."""
    query = sql.SQL(load_query("rows_by_day")).format(table=sql.Identifier(table), instant=sql.Identifier(instant))
    return dict(connection.execute(query, {"start": window.start, "end": window.end}).fetchall())
