"""The ``metrics`` commands: answers on the command line, as a table or as JSON."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from analytics_pipeline.cli.dates import days_options
from analytics_pipeline.cli.options import allow_unknown_option, require_company
from analytics_pipeline.cli.program import examples
from analytics_pipeline.cli.terminal import data_console, echo_json
from analytics_pipeline.companies.calendar import calendar_asked
from analytics_pipeline.database import connect_reader
from analytics_pipeline.metrics.answers import (
    Answer,
    crypto_answer,
    movements_answer,
    revenue_answer,
    series_answer,
    top_events_answer,
    users_answer,
)
from analytics_pipeline.metrics.periods import usual_granularity, window_asked
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window

Days = tuple[date, date] | None
Ask = Callable[[Connection, Window, str], Answer]


def _answer_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON, exact numbers as strings."),
        click.option("--currency", help="Reporting currency; without it the company's. Users have none."),
        click.option(
            "--time-zone",
            help="Whose days: Europe/Berlin, UTC; without it the company's, over all companies ANALYTICS_TIME_ZONE.",
        ),
        days_options("this month"),
        allow_unknown_option,
        click.option("--company", help="One company; without it the figures cover all."),
    ):
        command = option(command)
    return command


@click.group(
    epilog=examples(
        "metrics revenue --month 2025-01",
        "metrics users --start 2025-01-01 --end 2025-03-31 --json",
        "metrics series --start 2025-01-01 --end 2025-01-31 --interval day",
    )
)
def metrics() -> None:
    """Print revenue and user figures of a period of whole days, as the company's time zone counts them.

    Every figure is defined in docs/DEFINITIONS.md. A period may be unfinished: its figures are provisional. A company
    that nobody knows is an error, with exit status 2, and no zeros. Figures over all leave test companies out.
    """


@metrics.command("revenue")
@_answer_options
def revenue(company: str | None, **chosen: Any) -> None:
    """Revenue, MRR, ARR, revenue per user, growth, and what moved MRR."""

    def ask(connection: Connection, window: Window, reporting: str) -> Answer:
        return revenue_answer(connection, company, window, reporting)

    _answer(ask, company, **chosen)


@metrics.command("movements")
@_answer_options
def movements(company: str | None, **chosen: Any) -> None:
    """MRR from start to end: new, reactivation, expansion, contraction, churn, rates."""

    def ask(connection: Connection, window: Window, reporting: str) -> Answer:
        return movements_answer(connection, company, window, reporting)

    _answer(ask, company, **chosen)


@metrics.command("users")
@_answer_options
def users(company: str | None, **chosen: Any) -> None:
    """Total, active, new and churned users, and their rates."""

    def ask(connection: Connection, window: Window, _reporting: str) -> Answer:
        return users_answer(connection, company, window)

    _answer(ask, company, **chosen)


@metrics.command("crypto")
@_answer_options
def crypto(company: str | None, **chosen: Any) -> None:
    """What was received, sent and swapped of each crypto asset, and its value at the rates of the days."""

    def ask(connection: Connection, window: Window, reporting: str) -> Answer:
        return crypto_answer(connection, company, window, reporting)

    _answer(ask, company, **chosen)


@metrics.command("series")
@click.option(
    "--interval",
    type=click.Choice([str(granularity) for granularity in Granularity]),
    help="One line per hour, day or month; without it months where the period is made of them, else days.",
)
@_answer_options
def series(
    company: str | None,
    interval: str | None,
    **chosen: Any,
) -> None:
    """Revenue, MRR and users of each hour, day or month of the period."""

    def ask(connection: Connection, window: Window, reporting: str) -> Answer:
        granularity = Granularity(interval) if interval else usual_granularity(window)
        return series_answer(connection, company, window, reporting, granularity)

    _answer(ask, company, **chosen)


@metrics.command("top-events")
@click.option("--most", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many types at most.")
@_answer_options
def top_events(
    company: str | None,
    most: int,
    **chosen: Any,
) -> None:
    """The most frequent event types of the period."""

    def ask(connection: Connection, window: Window, _reporting: str) -> Answer:
        return top_events_answer(connection, company, window, most)

    _answer(ask, company, **chosen)


def _answer(
    ask: Ask, company: str | None, days: Days, currency: str | None, time_zone: str | None, *, as_json: bool
) -> None:
    settings = get_settings()
    with connect_reader(settings) as connection:
        require_company(connection, company)
        calendar = calendar_asked(connection, settings, company, time_zone, currency)
        first, last = days or (None, None)
        window = window_asked(connection, first, last, calendar.time_zone, database_now(connection))
        answer = ask(connection, window, calendar.currency)
    if as_json:
        echo_json(answer)
    else:
        _print(data_console(), answer)


# What the line above the table says.
_SCOPE = (
    "companyId", "startDate", "endDate", "timeZone", "asOf", "dataThrough", "provisional", "definitionsVersion",
)  # fmt: skip


def _print(console: Console, answer: Answer) -> None:
    through = answer["dataThrough"] or "no data yet"
    provisional = f", provisional as of {answer['asOf']}" if answer["provisional"] else ""
    in_currency = f", in {answer['currency']}" if "currency" in answer else ""
    console.print(
        f"{answer['companyId'] or 'All companies'}, {answer['startDate']} to {answer['endDate']} "
        f"({answer['timeZone']}){in_currency}, "
        f"data through {through}{provisional}, definitions {answer['definitionsVersion']}"
    )
    figures = {name: value for name, value in answer.items() if name not in (*_SCOPE, "currency", "interval")}
    singles = {name: value for name, value in figures.items() if not isinstance(value, list | dict)}
    if singles:
        _print_figures(console, "", singles)
    for name, value in figures.items():
        if isinstance(value, dict):
            _print_figures(console, name, value)
        elif isinstance(value, list) and value:
            _print_rows(console, name, value)
        elif isinstance(value, list) and name != "unconverted":
            console.print(f"{name}: none in this period.")


def _print_figures(console: Console, title: str, figures: dict[str, Any]) -> None:
    table = Table(title=title or None, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in figures.items():
        table.add_row(name, _shown(value))
    console.print(table)


def _print_rows(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title, title_justify="left")
    for name, value in rows[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*map(_shown, row.values()))
    console.print(table)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Decimal):
        return f"{value:,f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
