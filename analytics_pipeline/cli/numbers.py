"""Numbers as options of commands, and sizes as commands print them."""

import math
from decimal import Decimal
from typing import Any

import click


class _Scale(click.FloatRange):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        scale = super().convert(value, param, ctx)
        if not math.isfinite(scale):
            raise click.BadParameter(f"{value!r} is no number.", ctx, param)
        return scale


# How many times as large as usual.
SCALE = _Scale(min=0, min_open=True)


def describe_bytes(number: int) -> str:
    """Return a number of bytes for people, in units of 1,024 as PostgreSQL counts them."""
    size = Decimal(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1024:  # noqa: PLR2004  # the unit
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"
