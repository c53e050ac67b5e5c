"""What columns a source must have, and how they are read: those of an event, or those of a company."""

from collections.abc import Sequence

from psycopg import sql

from analytics_pipeline.companies.company_values import COMPANY
from analytics_pipeline.companies.company_values import FIELDS as COMPANY_FIELDS
from analytics_pipeline.erp.reader import SourceColumn
from analytics_pipeline.erp.source_files import ErpSource, Reads
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.model import FIELDS

# The event's own id is derived from the source's name and this key.
KEY = "source_key"
CURSOR = "cursor_at"
EVENT_FIELDS = FIELDS - {"event_id"}

_FIELDS = {Reads.EVENTS: EVENT_FIELDS, Reads.COMPANIES: frozenset({COMPANY, *COMPANY_FIELDS})}
_REQUIRED = {
    Reads.EVENTS: (KEY, CURSOR, "timestamp", COMPANY, "event_type", "category"),
    Reads.COMPANIES: (KEY, CURSOR, COMPANY),
}
_UNKNOWN = {
    Reads.EVENTS: "no event has a column {}: move it into metadata",
    Reads.COMPANIES: "no company has a column {}",
}
_TEXTS = (COMPANY, "user_id", "event_type", "category", "currency", "metadata", *COMPANY_FIELDS)
_TYPES = {
    CURSOR: (("timestamptz",), "say which zone it is in: ... AT TIME ZONE 'UTC'"),
    "timestamp": (("timestamptz",), "say which zone it is in: ... AT TIME ZONE 'UTC'"),
    "value": (("numeric", "int2", "int4", "int8"), "binary fractions lose digits: keep amounts in numeric"),
    "metadata": (("jsonb",), "make it with jsonb_build_object(...)"),
}


def column_problems(source: ErpSource, columns: Sequence[SourceColumn]) -> list[str]:
    """Return what is wrong with the columns of a source, each with its remedy."""
    names = [column.name for column in columns]
    problems = [f"the column {name} is missing" for name in _REQUIRED[source.reads] if name not in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"the column {name} occurs twice: keep one" for name in twice]
    for name, type_name in columns:
        if name not in _FIELDS[source.reads] and name not in (KEY, CURSOR):
            problems.append(_UNKNOWN[source.reads].format(name))
        types, remedy = _TYPES.get(name, ((), ""))
        if types and type_name not in types:
            problems.append(f"{name} is {type_name}, not {types[0]}: {remedy}")
    return problems


def require_columns(source: ErpSource, columns: Sequence[SourceColumn]) -> None:
    """Raise ``AnalyticsError`` unless the source has the columns of what it reads."""
    problems = column_problems(source, columns)
    if problems:
        raise AnalyticsError(f"{source.file}: {'; '.join(problems)}. See docs/erp-sources.md.")


def select_list(source: ErpSource, columns: Sequence[SourceColumn]) -> sql.Composed:
    """Return what to select of the source: numbers and instants as they are, all else as text."""
    return sql.SQL(", ").join(
        [sql.SQL("named.key AS source_key"), sql.SQL("cursor_at")]
        + [
            sql.SQL("source.{0}::text AS {0}" if name in _TEXTS else "source.{0}").format(sql.Identifier(name))
            for name, _ in columns
            if name in _FIELDS[source.reads]
        ]
    )
