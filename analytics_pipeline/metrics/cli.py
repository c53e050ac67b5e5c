"""The ``metrics`` commands: answers on the command line, as a table or as JSON."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.metrics.answers import revenue_answer, users_answer
from analytics_pipeline.timescale.connection import connect
from analytics_pipeline.windows import Cadence, Window


def _answer_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON, amounts as strings."),
        click.option("--end", type=click.DateTime(["%Y-%m-%d"]), help="Last day, inclusive (UTC)."),
        click.option("--start", type=click.DateTime(["%Y-%m-%d"]), help="First day (UTC); without dates: this month."),
        click.option("--company", help="One company; without it the figures cover all."),
    ):
        command = option(command)
    return command


@click.group()
def metrics() -> None:
    """Print revenue and user figures of a period of whole UTC days."""


@metrics.command("revenue")
@_answer_options
def revenue(company: str | None, start: datetime | None, end: datetime | None, *, as_json: bool) -> None:
    """Payments minus refunds per currency, each on its own date, in total and by month."""
    with connect(autocommit=True) as connection:
        answer = revenue_answer(connection, company, _window(start, end))
    if as_json:
        click.echo(json.dumps(answer, default=_to_json))
        return
    console = Console()
    _print_scope(console, answer)
    for title, key, rows in (
        ("Total", "currency", answer["revenue"]),
        ("By month", "month", answer["months"]),
    ):
        if rows:
            _print_table(console, title, [key] if key == "currency" else ["month", "currency"], rows)
    if not answer["revenue"]:
        console.print("No revenue in this period.")


@metrics.command("users")
@_answer_options
def users(company: str | None, start: datetime | None, end: datetime | None, *, as_json: bool) -> None:
    """Distinct active users and new users, over the period and by month."""
    with connect(autocommit=True) as connection:
        answer = users_answer(connection, company, _window(start, end))
    if as_json:
        click.echo(json.dumps(answer, default=_to_json))
        return
    console = Console()
    _print_scope(console, answer)
    console.print(f"Active users {answer['activeUsers']:,}, new users {answer['newUsers']:,}.")
    if answer["months"]:
        _print_table(console, "By month", ["month"], answer["months"])


def _window(start: datetime | None, end: datetime | None) -> Window:
    if start is None and end is None:
        month = Cadence.MONTH.floor(datetime.now(UTC))
        return Window(month, Cadence.MONTH.next(month))
    if start is None or end is None:
        raise AnalyticsError("Give both --start and --end, or neither for the current month.")
    if end < start:
        raise AnalyticsError(f"--end {end:%Y-%m-%d} is before --start {start:%Y-%m-%d}.")
    return Window.of_dates(start.date(), end.date())


def _print_scope(console: Console, answer: dict[str, Any]) -> None:
    through = answer["dataThrough"] or "no data yet"
    provisional = ", provisional" if answer["provisional"] else ""
    console.print(
        f"{answer['companyId'] or 'All companies'}, {answer['startDate']} to {answer['endDate']} (UTC), "
        f"data through {through}{provisional}, definitions {answer['definitionsVersion']}",
        markup=False,
        highlight=False,
    )


def _print_table(console: Console, title: str, keys: list[str], rows: list[dict[str, Any]]) -> None:
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name, justify="left" if name in keys else "right")
    for row in rows:
        table.add_row(*(f"{v:,}" if isinstance(v, Decimal | int) else str(v) for v in row.values()))
    console.print(table)


def _to_json(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"{value!r} has no form in JSON")
