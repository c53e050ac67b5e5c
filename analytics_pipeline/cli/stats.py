"""The command ``stats``: how the database stands, as tables or as JSON."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import click
from rich.table import Table

from analytics_pipeline.cli.numbers import describe_bytes
from analytics_pipeline.cli.terminal import data_console, echo, echo_json
from analytics_pipeline.database import connect
from analytics_pipeline.operations.stats import SECTIONS, Rows, read_stats

_TITLES = {
    "database": "Database",
    "relations": "Sizes and compression",
    "chunks": "Chunks of the events",
    "jobs": "Jobs of policies",
    "lag": "Aggregates: stored, closed, behind the newest event",
    "partitions": "Partitions",
    "stale": "Stale partitions",
    "changes": "Late events and other changes that closed figures have not seen",
    "outbox": "Outbox",
    "checks": "Newest results of checks",
    "recent": "Events that happened and records that were rejected",
    "queries": "Statements that took the most time",
    "dagster": "Dagster's own storage",
}
# One a week and year: the JSON has them all.
_LEFT_OUT = {"chunks"}


@click.command()
@click.option("--section", "sections", type=click.Choice(SECTIONS), multiple=True, help="Only this one; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON: bytes, seconds, instants in UTC.")
def stats(sections: tuple[str, ...], *, as_json: bool) -> None:
    """Show sizes, chunks, compression, jobs, lag, partitions, rejects, the outbox, slow statements, Dagster's storage.

    The same views feed the operations dashboard: psql shows them as analytics_operations_relations and so on. Rows are
    estimates; Dagster's storage is shown as the job monitoring has measured it last. Chunks are left out of the tables
    unless --section chunks asks for them.
    """
    with connect(autocommit=True) as connection:
        found = read_stats(connection)
    shown = {name: rows for name, rows in found.items() if name in sections or not sections}
    if as_json:
        echo_json({_camel(name): _as_json(rows) for name, rows in shown.items()})
        return
    statements = found["database"][0]["statement_statistics"]
    reasons = {"queries": f"pg_stat_statements is {statements}", "dagster": "not measured yet"}
    for name, rows in shown.items():
        if name not in _LEFT_OUT or name in sections:
            _print(_TITLES[name], rows, reasons.get(name, "none"))


def _print(title: str, rows: Rows, empty: str) -> None:
    if not rows:
        echo(f"{title}: {empty}\n")
        return
    table = Table(title=title, title_justify="left", title_style="bold")
    for column, value in rows[0].items():
        is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
        table.add_column(column.replace("_", " "), justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(_cell(column, value) for column, value in row.items()))
    data_console().print(table)


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, timedelta):
        return str(timedelta(seconds=round(value.total_seconds())))
    if isinstance(value, int):
        return describe_bytes(value) if "bytes" in column else f"{value:,}"
    return str(value)


_JSON: dict[type, Callable[[Any], Any]] = {
    datetime: lambda value: f"{value:%Y-%m-%dT%H:%M:%SZ}",
    timedelta: lambda value: value.total_seconds(),
    Decimal: str,
}


def _as_json(rows: Rows) -> list[dict[str, Any]]:
    return [
        {_camel(column): _JSON.get(type(value), lambda same: same)(value) for column, value in row.items()}
        for row in rows
    ]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
