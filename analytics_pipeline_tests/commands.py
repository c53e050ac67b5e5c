"""Commands as processes of their own, to which a signal can be sent at a telling moment, and what they wait for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from analytics_pipeline.timescale.connection import Connection, fetch_row

# A command that was asked to end has ended by then.
ENDS_WITHIN = 10

NOT_GRANTED = """
SELECT count(*) FROM pg_locks
WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Command:
    """One that runs, with the settings of the test's environment."""

    def __init__(self, *arguments: str, stdin: int | IO[bytes] | None = subprocess.DEVNULL) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "analytics_pipeline", *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "COLUMNS": "200"},
        )

    def until(self, happened: Callable[[], object]) -> None:
        """Wait until something is so while the command runs."""
        while not happened():
            if self.process.poll() is not None:
                assert self.process.stderr is not None
                raise AssertionError(f"it ended with {self.process.returncode}: {self.process.stderr.read().decode()}")
            time.sleep(0.02)

    def catches(self, number: signal.Signals) -> bool:
        """Tell whether it has a handler for the signal by now."""
        with open(f"/proc/{self.process.pid}/status") as status:  # noqa: PTH123
            mask = next(line.split()[1] for line in status if line.startswith("SigCgt:"))
        return bool(int(mask, 16) >> (number - 1) & 1)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def result(self, *, within: float | None = ENDS_WITHIN) -> tuple[int, str, str]:
        """Wait for its end; return exit status, standard output and standard error."""
        out, error = self.process.communicate(timeout=within)
        return self.process.returncode, out.decode(), error.decode()


@contextmanager
def running(*arguments: str, stdin: int | IO[bytes] | None = subprocess.DEVNULL) -> Iterator[Command]:
    """Run a command; one that still runs in the end is killed."""
    command = Command(*arguments, stdin=stdin)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.wait()


@contextmanager
def locked(connection: Connection, table: str) -> Iterator[None]:
    """Let everybody who needs the table wait."""
    with connection.transaction():
        connection.execute(f"LOCK TABLE {table}")
        yield


def is_waiting(connection: Connection) -> bool:
    """Tell whether a statement in the database waits for a lock."""
    return bool(fetch_row(connection, NOT_GRANTED)[0])
