"""The ``analytics-pipeline`` command: a module for each group of commands, imported when it is asked for.

Belongs here: arguments, and what is printed. What a command does is in the packages that it calls.
"""

from importlib import import_module
from typing import Any

import click
import psycopg

from analytics_pipeline.errors import AnalyticsError, UnknownNameError, first_line
from analytics_pipeline.signals import end_if_interrupted
from analytics_pipeline.text import printable

# Where each command is defined: the module of this package, or its full name, and what it is called there.
_COMMANDS = {
    "access": ("analytics_pipeline.cli.access", "access"),
    "adopt": ("analytics_pipeline.cli.close", "adopt"),
    "alerts": ("analytics_pipeline.cli.alerts", "alerts"),
    "backup": ("analytics_pipeline.cli.backup", "backup"),
    "close": ("analytics_pipeline.cli.close", "close"),
    "db": ("analytics_pipeline.cli.db", "db"),
    "demo": ("analytics_pipeline.cli.local", "demo"),
    "doctor": ("analytics_pipeline.doctor", "doctor"),
    "env": ("analytics_pipeline.cli.local", "env"),
    "fx": ("analytics_pipeline.cli.fx", "fx"),
    "ids": ("analytics_pipeline.cli.ids", "ids"),
    "ingest": ("analytics_pipeline.cli.ingest", "ingest"),
    "metrics": ("analytics_pipeline.cli.metrics", "metrics"),
    "outbox": ("analytics_pipeline.cli.outbox", "outbox"),
    "periods": ("analytics_pipeline.cli.periods", "periods"),
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


class _UnknownName(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    """Turns the errors a user can fix into one line and exit status 1, or 2 where an argument names nothing."""

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
        """Read the arguments; what is said of a wrong one quotes it without its control characters."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:
            _make_printable(error)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return self._invoke(ctx)
        except click.ClickException as error:
            end_if_interrupted()
            _make_printable(error)
            raise
        except Exception:
            # What an interrupted statement leaves behind may look like an error.
            end_if_interrupted()
            raise

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UnknownNameError as error:
            raise _UnknownName(str(error)) from error
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
            raise click.ClickException(f"An argument is not UTF-8: {printable(ascii(error.object))}.") from error
        except psycopg.OperationalError as error:
            raise click.ClickException(f"The database went away: {first_line(error)}") from error


def _make_printable(error: click.ClickException) -> None:
    """Escape the control characters of arguments and data that a message quotes; click's own ones do so raw."""
    vars(error)["message"] = printable(error.message)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="analytics_pipeline")
def main() -> None:
    """Analytics of a crypto-ERP on Dagster and TimescaleDB.

    Without ANALYTICS_DATABASE_URL every command works on the embedded database under ANALYTICS_HOME
    (default .local/), which starts on demand.

    SIGTERM and Ctrl-C end a command within seconds, with status 143 and 130: what runs is cancelled, what was
    committed stays.
    """
