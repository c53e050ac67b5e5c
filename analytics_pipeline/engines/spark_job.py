"""A job for ``spark-submit`` that computes an aggregate from the archive and writes it as Parquet.

    spark-submit spark_job.py NAME --archive URI --start 2023-01-01 --end 2024-01-01 --output FOLDER

The driver needs this package and ``deltalake``, which lists the files of the table that are current; executors need
nothing. With ``--connector`` Spark's own Delta connector reads the table instead.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from analytics_pipeline.engines.declared_query import SPARK, aggregate_query, decimal_type, digits_query
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.timescale.aggregates import AGGREGATES, ContinuousAggregate
from analytics_pipeline.windows import Window

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_SOURCE = "events"
# An overflow or a text that is no number is an error in ANSI mode, and null without.
SETTINGS = {"spark.sql.session.timeZone": "UTC", "spark.sql.ansi.enabled": "true"}


def compute_with_spark(
    session: "SparkSession", events: "DataFrame", aggregate: ContinuousAggregate, window: Window
) -> "DataFrame":
    """Return the rows of an aggregate in an aligned window; instants are UTC times without a zone, sums exact decimals.

    ``events`` are those of the archive. Raises ``AnalyticsError`` where digits would be lost.
    """
    for name, value in SETTINGS.items():
        session.conf.set(name, value)
    events.createOrReplaceTempView(_SOURCE)
    digits = session.sql(digits_query(SPARK, _SOURCE, window)).first() or (None, None)
    return session.sql(aggregate_query(aggregate, SPARK, _SOURCE, window, decimal_type(*digits)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the job; exit status 1 with one line for what can't be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[aggregate.name for aggregate in AGGREGATES])
    parser.add_argument("--archive", required=True, help="Folder or URI of the table analytics_events.")
    parser.add_argument("--start", required=True, type=_instant, help="First instant (UTC).")
    parser.add_argument("--end", required=True, type=_instant, help="First instant after it (UTC).")
    parser.add_argument("--output", required=True, help="Folder or URI for the Parquet files; it must not exist.")
    parser.add_argument("--connector", action="store_true", help="Read with Spark's Delta connector.")
    given = parser.parse_args(arguments)
    from pyspark.sql import SparkSession

    aggregate = next(aggregate for aggregate in AGGREGATES if aggregate.name == given.name)
    session = SparkSession.builder.appName(f"analytics_pipeline {given.name}").getOrCreate()
    try:
        if given.connector:
            events = session.read.format("delta").load(given.archive)
        else:
            from deltalake import DeltaTable

            events = session.read.option("mergeSchema", "true").parquet(*DeltaTable(given.archive).file_uris())
        rows = compute_with_spark(session, events, aggregate, Window(given.start, given.end))
        rows.write.mode("error").parquet(given.output)
    except AnalyticsError as error:
        sys.exit(str(error))
    finally:
        session.stop()


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


if __name__ == "__main__":
    main()
