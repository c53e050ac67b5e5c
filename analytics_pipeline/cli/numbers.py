"""Numbers as options of commands."""

import math
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
