"""What commands print, without the control characters of the data in it: every command prints through this module."""

import sys
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from analytics_pipeline.text import printable

# Where there is no terminal whose width to keep, a line stays a line.
_PLAIN_WIDTH = 200


def echo(text: object, *, err: bool = False, label: str = "") -> None:
    """Print a text on standard output, or on standard error; ``label``, which stands before it, may be styled."""
    click.echo(label + printable(str(text)), err=err)  # noqa: TID251


def data_console(*, markup: bool = False) -> Console:
    """Return the console for tables of data: no text in them is markup, an emoji's name or an escape sequence.

    With ``markup``, for texts of ours, whatever of it is data has to be escaped by ``rich.markup.escape``.
    """
    return _DataConsole(
        markup=markup, emoji=False, highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH
    )


class _DataConsole(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)
