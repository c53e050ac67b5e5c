"""The query of a declared aggregate over archived events, as DuckDB and Spark take it.

Numbers are texts in the archive, with any number of digits. So first it is asked how many digits there are, and then
the query works with decimals that hold each of them: an engine rounds silently where they don't.
"""

from dataclasses import dataclass

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.timescale.aggregates import ContinuousAggregate
from analytics_pipeline.windows import Window

# What both engines hold.
MAX_DIGITS = 38
# Of a number as it is archived.
_AFTER_POINT = "CASE WHEN instr(value, '.') > 0 THEN length(value) - instr(value, '.') ELSE 0 END"
_SUM = "sum(value)"
_COLUMNS = ("company_id", "user_id", "event_type", "category", "currency")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the two write differently: the mark about a name, and these with a blank each.

    ``utc`` gives the UTC time without a zone of an instant's column, ``bucket`` the start of a granularity, and
    ``instant`` is a literal of ``2025-01-01 00:00:00`` in UTC.
    """

    quote: str
    utc: str
    bucket: str
    instant: str

    def name(self, name: str) -> str:
        """Return a column's name, quoted."""
        return f"{self.quote}{name}{self.quote}"

    def expression(self, text: str) -> str:
        """Return an expression of a declaration, whose names are quoted as in PostgreSQL."""
        return text.replace('"', self.quote)

    def within(self, window: Window) -> str:
        """Return the condition that an event lies in a half-open window."""
        start, end = (self.instant.format(f"{at:%Y-%m-%d %H:%M:%S}") for at in (window.start, window.end))
        return f"{self.name('timestamp')} >= {start} AND {self.name('timestamp')} < {end}"


DUCKDB = Dialect('"', "make_timestamp(epoch_us({}))", "date_trunc('{}', \"timestamp\")", "TIMESTAMPTZ '{}+00'")
SPARK = Dialect(
    "`",
    "CAST({} AS TIMESTAMP_NTZ)",
    "CAST(date_trunc('{}', `timestamp`) AS TIMESTAMP_NTZ)",
    "TIMESTAMP '{}Z'",
)


def digits_query(dialect: Dialect, source: str, window: Window) -> str:
    """Return the query for the most digits after the point, and before it, of the numbers in a half-open window."""
    whole = "CASE WHEN instr(value, '.') > 0 THEN substr(value, 1, instr(value, '.') - 1) ELSE value END"
    return (
        f"SELECT max({_AFTER_POINT}), "  # noqa: S608
        f"max(length(replace({whole}, '-', ''))) FROM {source} WHERE {dialect.within(window)}"
    )


def decimal_type(after_point: int | None, before_point: int | None) -> str:
    """Return the type that holds numbers of so many digits; a sum that it does not hold raises in either engine.

    Raises ``AnalyticsError`` for numbers that no type of theirs holds.
    """
    after, before = after_point or 0, before_point or 0
    if after + before > MAX_DIGITS:
        raise AnalyticsError(
            f"The archive holds numbers with {before} digits before the point and {after} after it, and other engines "
            f"have {MAX_DIGITS} for both: bring the events back ('analytics-pipeline archive restore') and let "
            "TimescaleDB compute them."
        )
    return f"DECIMAL({MAX_DIGITS}, {after})"


def summed_columns(aggregate: ContinuousAggregate) -> list[str]:
    """Return the columns of an aggregate that are sums of numbers."""
    return [name for name, text in aggregate.measures.items() if _SUM in text]


def aggregate_query(
    aggregate: ContinuousAggregate,
    dialect: Dialect,
    source: str,
    window: Window,
    decimal: str,
    *,
    with_digits: bool = False,
) -> str:
    """Return the query for the rows of an aggregate in a window, its columns in their order; times are UTC.

    ``source`` is what events are read from, ``decimal`` the type that holds each of their numbers. ``with_digits``: a
    column follows for each of ``summed_columns``, with how many digits after the point PostgreSQL gives the sum. Raises
    ``AnalyticsError`` for a window that is not made of whole buckets.
    """
    if not window.is_aligned(aggregate.granularity):
        whole = window.widen(aggregate.granularity)
        raise AnalyticsError(f"{aggregate.name} is computed in whole {aggregate.granularity}s: use {whole}.")
    columns = [
        f"{dialect.utc.format(dialect.name('timestamp'))} AS {dialect.name('timestamp')}",
        *map(dialect.name, _COLUMNS),
        f"{_AFTER_POINT} AS after_point",
        f"CAST(value AS {decimal}) AS value",
    ]
    selected = [
        f"{dialect.bucket.format(aggregate.granularity)} AS bucket",
        *map(dialect.name, aggregate.dimensions),
        *(f"{dialect.expression(text)} AS {dialect.name(name)}" for name, text in aggregate.measures.items()),
    ]
    if with_digits:
        sums = (aggregate.measures[name] for name in summed_columns(aggregate))
        selected += [dialect.expression(text.replace(_SUM, "max(after_point)")) for text in sums]
    keys = ", ".join(str(number + 1) for number in range(1 + len(aggregate.dimensions)))
    return (
        f"SELECT {', '.join(selected)} FROM (SELECT {', '.join(columns)} FROM {source} "  # noqa: S608
        f"WHERE {dialect.within(window)}) AS e WHERE {dialect.expression(aggregate.condition)} "
        f"GROUP BY {keys} ORDER BY {keys}"
    )
