"""What commands print, without the control characters of the data in it: every command prints through this module."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from rich.console import Console
from rich.text import Text

from analytics_pipeline.cli.program import as_called
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.text import printable

# Where there is no terminal whose width to keep, a line stays a line.
_PLAIN_WIDTH = 200


def echo(text: object, *, err: bool = False, label: str = "") -> None:
    """Print a text on standard output, or on standard error; ``label``, which stands before it, may be styled.

    Commands of this program in it are printed so that they can be pasted.
    """
    click.echo(label + printable(as_called(str(text))), err=err)  # noqa: TID251


def echo_json(value: object) -> None:
    """Print a value as JSON on standard output.

    Exact numbers are strings, instants are in UTC and end in Z, intervals are seconds. Raises ``TypeError`` for what
    has no form in JSON: Python's own is nobody's to read.
    """
    click.echo(printable(json.dumps(value, default=as_json)))  # noqa: TID251


def as_json(value: object) -> object:
    """Return the form in JSON of what ``json.dumps`` has none for; raises ``TypeError`` where there is none."""
    for kind, form in _JSON_FORMS.items():
        if isinstance(value, kind):
            return form(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{value!r} has no form in JSON")


# A datetime is a date, too: it stands first.
_JSON_FORMS: dict[type, Callable[[Any], object]] = {
    Decimal: lambda number: f"{number:f}",
    datetime: lambda instant: instant.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    date: date.isoformat,
    timedelta: timedelta.total_seconds,
    UUID: str,
    Path: str,
    Mapping: dict,
}


def confirm(question: str, *, yes: bool) -> None:
    """Ask whether to go on, unless ``yes``; raises ``AnalyticsError`` for a no, and without a terminal to ask at."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise AnalyticsError("Nothing was changed: there is no terminal to ask at. Repeat with --yes to change it.")
    if not click.confirm(question, err=True):
        raise AnalyticsError("Nothing was changed.")


def data_console(*, markup: bool = False) -> Console:
    """Return the console for tables of data: no text in them is markup, an emoji's name or an escape sequence.

    With ``markup``, for texts of ours, whatever of it is data has to be escaped by ``rich.markup.escape``.
    """
    return _DataConsole(
        markup=markup, emoji=False, highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH
    )


class _DataConsole(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(as_called(text)), **options)
