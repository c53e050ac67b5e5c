"""The ``analytics-pipeline`` command: a module for each group of commands, imported when it is asked for.

Belongs here: arguments, and what is printed. What a command does is in the packages that it calls.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click
import psycopg
from click.exceptions import NoArgsIsHelpError

from analytics_pipeline.cli.program import NAME, as_called, program
from analytics_pipeline.cli.terminal import echo
from analytics_pipeline.errors import AnalyticsError, ArgumentError, first_line
from analytics_pipeline.settings import HOME, checkout, default_home
from analytics_pipeline.signals import end_if_interrupted
from analytics_pipeline.text import printable, printable_line, visible_line

# Where each command is defined: the module of this package, or its full name, and what it is called there.
_COMMANDS = {
    "access": ("analytics_pipeline.cli.access", "access"),
    "adopt": ("analytics_pipeline.cli.close", "adopt"),
    "alerts": ("analytics_pipeline.cli.alerts", "alerts"),
    "archive": ("analytics_pipeline.cli.archive", "archive"),
    "backup": ("analytics_pipeline.cli.backup", "backup"),
    "close": ("analytics_pipeline.cli.close", "close"),
    "companies": ("analytics_pipeline.cli.companies", "companies"),
    "db": ("analytics_pipeline.cli.db", "db"),
    "demo": ("analytics_pipeline.cli.local", "demo"),
    "doctor": ("analytics_pipeline.doctor", "doctor"),
    "erase": ("analytics_pipeline.cli.erase", "erase"),
    "env": ("analytics_pipeline.cli.local", "env"),
    "fx": ("analytics_pipeline.cli.fx", "fx"),
    "ids": ("analytics_pipeline.cli.ids", "ids"),
    "ingest": ("analytics_pipeline.cli.ingest", "ingest"),
    "metrics": ("analytics_pipeline.cli.metrics", "metrics"),
    "outbox": ("analytics_pipeline.cli.outbox", "outbox"),
    "periods": ("analytics_pipeline.cli.periods", "periods"),
    "prune": ("analytics_pipeline.cli.prune", "prune"),
    "recipients": ("analytics_pipeline.cli.recipients", "recipients"),
    "reconcile": ("analytics_pipeline.cli.reconcile", "reconcile"),
    "record": ("analytics_pipeline.cli.ingest", "record"),
    "report": ("analytics_pipeline.cli.report", "report"),
    "restore": ("analytics_pipeline.cli.backup", "restore"),
    "sample": ("analytics_pipeline.cli.sample", "sample"),
    "sources": ("analytics_pipeline.cli.sources", "sources"),
    "stats": ("analytics_pipeline.cli.stats", "stats"),
    "serve": ("analytics_pipeline.cli.api", "serve"),
    "token": ("analytics_pipeline.cli.api", "token"),
    "up": ("analytics_pipeline.cli.local", "up"),
}


class _WrongUsage(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    """Turns the errors a user can fix into one line and exit status 1, or 2 where an argument can't be meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names of the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; all of them take a second."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the arguments."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:
            _raise_in_one_line(error)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; one that works is preceded by where, unless that goes without saying."""
        found = super().resolve_command(ctx, args)
        if not set(ctx.help_option_names) & set(args):
            _say_home()
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return self._invoke(ctx)
        except click.ClickException as error:
            end_if_interrupted()
            _raise_in_one_line(error)
        except Exception:
            # What an interrupted statement leaves behind may look like an error.
            end_if_interrupted()
            raise

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ArgumentError as error:
            raise _WrongUsage(str(error)) from error
        except AnalyticsError as error:
            raise click.ClickException(str(error)) from error
        except (
            psycopg.errors.UndefinedTable,
            psycopg.errors.UndefinedColumn,
            psycopg.errors.UndefinedFunction,
            psycopg.errors.UndefinedObject,
        ) as error:
            raise click.ClickException(
                f"{error.diag.message_primary}: this database lacks the schema of this version; run "
                "'analytics-pipeline db migrate'."
            ) from error
        except UnicodeEncodeError as error:
            # Bytes of the command line that are no text reach Python as half characters, which no database takes.
            if not all("\udc80" <= character <= "\udcff" for character in error.object[error.start : error.end]):
                raise
            raise _WrongUsage(f"An argument is not UTF-8: {printable(ascii(error.object))}.") from error
        except psycopg.OperationalError as error:
            raise click.ClickException(f"The database went away: {first_line(error)}") from error


def _raise_in_one_line(error: click.ClickException) -> NoReturn:
    """Raise the error again as what prints one line, without the control characters of what it quotes."""
    if isinstance(error, NoArgsIsHelpError):
        raise error
    if not isinstance(error, click.UsageError):
        vars(error)["message"] = printable_line(as_called(error.message))
        raise error
    # Click lists what there is to choose from in lines of their own.
    said = visible_line(printable(as_called(error.format_message())))
    raise _WrongUsage(f"{said if said.endswith(('.', '?', ')')) else f'{said}.'}{_help_hint(error.ctx)}") from None


def _help_hint(context: click.Context | None) -> str:
    names: list[str] = []
    while context is not None and context.parent is not None:
        names.insert(0, context.info_name or "")
        context = context.parent
    return f" See {' '.join([program(), *names, '--help'])}" if context is not None else ""


def _say_home() -> None:
    """Say on standard error where the data are, to whoever is outside of the checkout and has named no place."""
    where = checkout()
    if where is not None and not os.environ.get(HOME) and not Path.cwd().is_relative_to(where):
        echo(f"Home: {default_home()} ({HOME} names another).", err=True)


@click.group(NAME, cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="analytics_pipeline")
def main() -> None:
    """Analytics of a crypto-ERP on Dagster and TimescaleDB.

    Without ANALYTICS_DATABASE_URL every command works on the embedded database under ANALYTICS_HOME
    (default: .local of the checkout), which starts on demand.

    A day is 2025-01-31, a month 2025-01, a time 2025-01-31T06:00: in UTC, unless it names its zone (+02:00).

    SIGTERM and Ctrl-C end a command within seconds, with status 143 and 130: what runs is cancelled, what was
    committed stays.
    """
