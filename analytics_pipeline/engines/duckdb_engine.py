"""Aggregates computed by DuckDB, in this process, from the Parquet files of the archive."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any

from analytics_pipeline.engines.declared_query import (
    DUCKDB,
    MAX_DIGITS,
    aggregate_query,
    decimal_type,
    digits_query,
    summed_columns,
)
from analytics_pipeline.errors import AnalyticsError, first_line
from analytics_pipeline.timescale.aggregates import ContinuousAggregate
from analytics_pipeline.windows import Window

_SOURCE = "events"


def compute_with_duckdb(aggregate: ContinuousAggregate, files: Sequence[str], window: Window) -> list[tuple[Any, ...]]:
    """Return the rows of an aggregate in an aligned window as the events of Parquet files give them, in its columns.

    ``files`` are paths or URIs, those that the table lists as current. Sums are exact decimals, instants are in UTC.
    Raises ``AnalyticsError`` without DuckDB, where digits would be lost, and when the files can't be read.
    """
    try:
        import duckdb
    except ImportError as error:
        raise AnalyticsError(
            "DuckDB is not installed: pip install 'analytics_pipeline[engines]', or bring the events back "
            "('analytics-pipeline archive restore')."
        ) from error
    if not files:
        return []
    # Nothing is fetched while it runs: extensions that are asked for are there, or missed.
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as session:
        try:
            session.execute("SET TimeZone = 'UTC'")
            session.read_parquet(list(files), union_by_name=True).create_view(_SOURCE)
            digits = session.execute(digits_query(DUCKDB, _SOURCE, window)).fetchone() or (None, None)
            query = aggregate_query(aggregate, DUCKDB, _SOURCE, window, decimal_type(*digits), with_digits=True)
            rows = session.execute(query).fetchall()
        except duckdb.Error as error:
            raise AnalyticsError(f"DuckDB can't compute {aggregate.name}: {first_line(error)}.") from error
    return [_as_stored(aggregate, row) for row in rows]


def _as_stored(aggregate: ContinuousAggregate, row: Sequence[Any]) -> tuple[Any, ...]:
    """Return a row with instants in UTC and as many digits after the point as PostgreSQL gives its sums."""
    columns, summed = aggregate.columns, summed_columns(aggregate)
    found = dict(zip(columns, row, strict=False))
    for name, after_point in zip(summed, row[len(columns) :], strict=True):
        if found[name] is not None:
            found[name] = found[name].quantize(Decimal(1).scaleb(-after_point), context=Context(prec=MAX_DIGITS))
    values = (found[name] for name in columns)
    return tuple(value.replace(tzinfo=UTC) if isinstance(value, datetime) else value for value in values)
