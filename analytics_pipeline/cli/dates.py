"""How days, months and times are written on the command line: one rule for every command.

A day is 2025-01-31, a month 2025-01, an instant 2025-01-31T06:00: in UTC, unless it names its zone (+02:00) or the
command says of whose days it is. Where an instant is asked for, a day is its first one. Whatever is asked for a period
takes --month, or --start and --end.
"""

import re
from collections.abc import Callable
from datetime import MAXYEAR, UTC, date, datetime, time
from functools import wraps
from typing import Any

import click

from analytics_pipeline.windows import Window


class _Written(click.ParamType[Any]):
    """What is written in one form only, and read by a function that raises ``ValueError`` for what can't be."""

    def __init__(self, name: str, metavar: str, form: str, read: Callable[[str], Any], examples: str) -> None:
        self.name = name
        self._metavar = metavar
        self._matches = re.compile(form, re.ASCII).fullmatch
        self._read = read
        self._examples = examples

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002  # click's signature
        return self._metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            read = self._read(value) if self._matches(value) else None
        except (ValueError, OverflowError):
            read = None
        # What it is in ends after it, and no time is later than its year.
        if isinstance(read, date) and read.year == MAXYEAR:
            raise click.BadParameter(f"{value!r} is too late: choose an earlier year.", ctx, param)
        if read is not None:
            return read
        raise click.BadParameter(f"{value!r} is no {self.name}: write it like {self._examples}.", ctx, param)


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


_DAY_FORM = r"\d{4}-\d\d-\d\d"
# Their values: a date, the first day of the month, an instant in UTC, a time of day.
DAY = _Written("day", "YYYY-MM-DD", _DAY_FORM, date.fromisoformat, "2025-01-31")
MONTH = _Written("month", "YYYY-MM", r"\d{4}-\d\d", lambda text: date.fromisoformat(f"{text}-01"), "2025-01")
INSTANT = _Written(
    "day or time",
    "YYYY-MM-DD[THH:MM]",
    rf"{_DAY_FORM}([T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?",
    _instant,
    "2025-01-31 or 2025-01-31T06:00 (UTC), or with its zone like 2025-01-31T08:00+02:00",
)
TIME_OF_DAY = _Written("time of day", "HH:MM", r"\d\d:\d\d", time.fromisoformat, "07:30, in UTC")


def days_options(without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of a period of whole days, which the command gets as ``days``: first and last, or None.

    They are days of the company's time zone. ``without`` says which period it is where none of them is given.
    """

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_days(
            *arguments: Any, month: date | None, start: date | None, end: date | None, **options: Any
        ) -> None:
            command(*arguments, days=_chosen_days(month, start, end), **options)

        chosen = with_days
        for option in (
            click.option("--end", type=DAY, help="Last day, inclusive: 2025-03-31, as the company's time zone counts."),
            click.option("--start", type=DAY, help="First day: 2025-01-01, as the company's time zone counts."),
            click.option("--month", type=MONTH, help=f"A whole month, 2025-01; without dates {without}."),
        ):
            chosen = option(chosen)
        return chosen

    return add


def span_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a half-open span of instants, which the command gets as ``span``."""
    return _with_span(command, _chosen_span, "A whole month, 2025-01, for --start and --end.")


def optional_span_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a half-open span of instants, which the command gets as ``span``: None without any of them."""
    return _with_span(command, _span_if_any, "A whole month, 2025-01, for --start and --end; without dates everything.")


def _with_span(
    command: Callable[..., None],
    choose: Callable[[date | None, datetime | None, datetime | None], Window | None],
    about_month: str,
) -> Callable[..., None]:
    @wraps(command)
    def with_span(
        *arguments: Any, month: date | None, start: datetime | None, end: datetime | None, **options: Any
    ) -> None:
        command(*arguments, span=choose(month, start, end), **options)

    chosen = with_span
    for option in (
        click.option(
            "--end", type=INSTANT, help="First instant after the span (UTC): 2025-02-01 is the end of January."
        ),
        click.option("--start", type=INSTANT, help="First instant (UTC): 2025-01-01 or 2025-01-01T06:00."),
        click.option("--month", type=MONTH, help=about_month),
    ):
        chosen = option(chosen)
    return chosen


def _span_if_any(month: date | None, start: datetime | None, end: datetime | None) -> Window | None:
    return None if month is None and start is None and end is None else _chosen_span(month, start, end)


def _chosen_span(month: date | None, start: datetime | None, end: datetime | None) -> Window:
    if month is not None and (start or end):
        raise click.UsageError("Give either --month, or --start and --end.")
    if month is not None:
        return Window.of_month(month)
    if start is None or end is None:
        raise click.UsageError("Give the span: --month 2025-01, or both --start and --end.")
    if end <= start:
        raise click.UsageError(f"--end {end:%Y-%m-%dT%H:%M} must come after --start {start:%Y-%m-%dT%H:%M}.")
    return Window(start, end)


def _chosen_days(month: date | None, start: date | None, end: date | None) -> tuple[date, date] | None:
    if month is not None and (start or end):
        raise click.UsageError("Give either --month, or --start and --end.")
    if month is not None:
        return month, Window.of_month(month).last_day
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise click.UsageError("Give both --start and --end, or --month.")
    return start, end
