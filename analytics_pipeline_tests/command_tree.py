"""Every command there is, and arguments with which it can be called."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from analytics_pipeline.cli import main
from analytics_pipeline.cli.dates import DAY, INSTANT, MONTH, TIME_OF_DAY

Path = tuple[str, ...]

_SAMPLES = ((DAY, "2025-01-31"), (MONTH, "2025-01"), (INSTANT, "2025-01-31T06:00"), (TIME_OF_DAY, "07:30"))


def commands(group: click.Group = main, path: Path = ()) -> Iterator[tuple[Path, click.Command]]:
    """Yield each command that is no group, with the words it is called by."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def required(command: click.Command, but: click.Parameter | None = None) -> list[str]:
    """Return the arguments that a command can't be called without, but those of one parameter."""
    given: list[str] = []
    for parameter in command.params:
        if parameter.required and parameter is not but:
            option = [parameter.opts[0]] if isinstance(parameter, click.Option) else []
            given += [*option, sample(parameter.type)]
    return given


def before(command: click.Command, argument: click.Argument) -> list[str]:
    """Return what has to stand before an argument that is known by its place."""
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    return [sample(parameter.type) for parameter in arguments[: arguments.index(argument)]]


def sample(kind: click.ParamType[Any]) -> str:
    """Return a value that a parameter of a type takes."""
    if isinstance(kind, click.Choice):
        return str(kind.choices[0])
    if isinstance(kind, click.types.IntParamType):
        return "1"
    return next((text for known, text in _SAMPLES if known is kind), "x")


def parameter_names(parameter: click.Parameter) -> Sequence[str]:
    """Return the words by which a message may name a parameter."""
    if isinstance(parameter, click.Option):
        return [*parameter.opts, *parameter.secondary_opts]
    return [parameter.human_readable_name, str(parameter.metavar or "").strip("[].")]
