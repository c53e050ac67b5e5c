"""How the database runs a named query of ``sql/queries``, and how many chunks of each hypertable it scans for that."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import psycopg

from analytics_pipeline.errors import AnalyticsError, ArgumentError, UnknownNameError, first_line
from analytics_pipeline.sql_files import load_query, queries
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.migrations import newest_migration, schema_version

_PARAMETER = re.compile(r"%\((\w+)\)s")
# What a query leaves to be filled in by the program, such as the name of a table: braces that are neither the text '{}'
# nor doubled.
_BLANK = re.compile(r"(?<![{'])\{\w*\}(?![}'])")


@dataclass(frozen=True, slots=True)
class ScannedChunks:
    """Of how many chunks of a hypertable, or of an aggregate's stored rows, how many were scanned."""

    relation: str
    chunks: int
    scanned: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """The plan of a query, line by line, and the hypertables of which a chunk is scanned."""

    plan: list[str]
    scanned: list[ScannedChunks]


def parameters_of(name: str) -> list[str]:
    """Return the names of a query's parameters, in the order of the text.

    Raises ``UnknownNameError`` when no query has the name.
    """
    if name not in queries():
        near = get_close_matches(name, queries(), n=1)
        hint = f"did you mean {near[0]}?" if near else "'analytics-pipeline db explain' lists them."
        raise UnknownNameError(f"There is no query {name!r}: {hint}")
    return list(dict.fromkeys(_PARAMETER.findall(queries()[name])))


def explain(
    connection: Connection, name: str, parameters: Mapping[str, str | None], *, analyze: bool = False
) -> Explanation:
    """Return how a named query is run with these parameters; nothing is changed, and ``analyze`` runs it read-only.

    Parameters are texts as psql takes them, an array like ``{a,b}``, None: NULL. Without ``analyze`` the chunks are
    those that the plan names; what a function reads is in no plan. With it they are those that were read, by functions
    too. Raises ``ArgumentError`` for a parameter too many, missing, or that its column can't take, and
    ``AnalyticsError`` for a query that can't be run alone: one that the program completes, or that writes.
    """
    known = parameters_of(name)
    missing = [wanted for wanted in known if wanted not in parameters]
    if missing or parameters.keys() - known:
        given = " ".join(f"{wanted}=..." for wanted in known) or "no parameters"
        raise ArgumentError(f"{name} takes {given}.")
    if _BLANK.search(load_query(name)):
        raise AnalyticsError(f"{name} can't be explained: the program fills in a part of it each time.")
    options = "ANALYZE, BUFFERS" if analyze else "COSTS"
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET TRANSACTION READ ONLY")
            before = {chunk: scans for _, chunk, scans in connection.execute(load_query("explain_chunks"))}
            # Bound by the client: as plain as in psql, a value has the type that its place asks for.
            with psycopg.ClientCursor(connection) as cursor:
                cursor.execute(f"EXPLAIN ({options}) {load_query(name)}".encode(), parameters or None)
                plan = [line for (line,) in cursor]
                named = set()
                if not analyze:
                    cursor.execute(f"EXPLAIN (FORMAT JSON) {load_query(name)}".encode(), parameters or None)
                    ((tree,),) = cursor.fetchall()
                    named = set(_relations(tree[0]["Plan"]))
            after = connection.execute(load_query("explain_chunks")).fetchall()
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise AnalyticsError(f"{name} writes, so that it can't be run: leave --analyze out.") from error
    except psycopg.errors.UndefinedTable as error:
        if schema_version(connection) < newest_migration():
            raise
        raise AnalyticsError(
            f"{name} can't be explained here, {first_line(error)}: it is asked of another database (Dagster's storage, "
            "the ERP), or of tables that the program makes first."
        ) from error
    except (psycopg.errors.DataError, psycopg.errors.SyntaxErrorOrAccessRuleViolation) as error:
        raise ArgumentError(f"{name} can't be run with these parameters: {first_line(error)}.") from error
    chunks = Counter(relation for relation, _, _ in after)
    scanned = Counter(
        relation for relation, chunk, scans in after if (scans > before.get(chunk, 0) if analyze else chunk in named)
    )
    return Explanation(plan, [ScannedChunks(relation, chunks[relation], scanned[relation]) for relation in scanned])


def _relations(node: Mapping[str, Any]) -> Iterator[str]:
    if "Relation Name" in node:
        yield node["Relation Name"]
    for inner in node.get("Plans", ()):
        yield from _relations(inner)
