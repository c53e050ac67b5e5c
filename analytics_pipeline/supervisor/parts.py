"""The parts that ``up`` runs, and how one that has ended is started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from analytics_pipeline.embedded import EmbeddedPostgres, EmbeddedTimescale
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.supervisor.output import Output, Tail

# Before each start of a part that has ended, in seconds; after the last one it is not started again.
_PAUSES = (1, 2, 4, 8, 16)
_WITHIN_SECONDS = 600.0


class Part(Protocol):
    """A part that is watched."""

    name: str

    def start(self) -> object:
        """Start it; raises ``AnalyticsError`` when that can't be done."""

    def ended(self) -> str | None:
        """Return in a few words how it has ended, None while it runs."""


class Database:
    """An embedded database."""

    def __init__(self, name: str, server: EmbeddedTimescale | EmbeddedPostgres) -> None:
        """Name the server; nothing is started."""
        self.name = name
        self._server = server
        self._is_ours = False

    def start(self) -> None:
        """Start it unless it runs."""
        self._is_ours |= self._server.start()

    def ended(self) -> str | None:
        """See ``Part``."""
        status = self._server.status()
        return None if status.state in {"running", "starting"} else status.last_error or "it was stopped"

    def stop(self, *, timeout: float) -> str | None:
        """Stop it; return why it goes on running, if it does: it ran before, or somebody uses it."""
        if not self._is_ours:
            return "it ran before"
        return None if self._server.stop_if_unused(timeout=timeout) else "another program uses it"


class Service:
    """A program of Dagster's, in a process group of its own."""

    def __init__(
        self,
        name: str,
        module: Sequence[str],
        environment: Mapping[str, str],
        output: Output,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        """Take the arguments of ``python -m``; ``before`` is called before each start."""
        self.name = name
        self._command = [sys.executable, "-m", *module]
        self._environment = environment
        self._output = output
        self._before = before
        self._process: subprocess.Popen[bytes] | None = None
        self._tail: Tail | None = None

    @property
    def pid(self) -> int | None:
        """Its process, None before the first start."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the program."""
        self._before()
        # A session of its own: Ctrl-C reaches ``up`` alone, which then stops the services in order.
        # The instance's folder as the current one: Dagster warns of a dagster.yaml beside the one it uses.
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            cwd=self._environment["DAGSTER_HOME"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        self._tail = self._output.follow(self.name, self._process.stdout)

    def ended(self) -> str | None:
        """See ``Part``."""
        if self._process is None or self._process.poll() is None:
            return None
        last = self._tail.last() if self._tail is not None else None
        return f"ended with status {self._process.returncode}{f', its last line: {last}' if last else ''}"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and to the runs that it executes."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def wait(self, seconds: float) -> None:
        """Wait until the program has ended, and kill it, with its runs, when that takes longer."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, seconds))
            self.signal(signal.SIGKILL)
            self._process.wait()


@dataclass(slots=True)
class _History:
    ends: list[float] = field(default_factory=list)
    due: float | None = None


class Watch:
    """Starts again what has ended, after a pause that grows, and not for ever."""

    def __init__(self, parts: Iterable[Part], say: Callable[[str], None], *, pauses: Sequence[float] = _PAUSES) -> None:
        """Take parts that run; ``say`` gets each end. There are as many starts within ten minutes as pauses."""
        self._parts = {part: _History() for part in parts}
        self._say = say
        self._pauses = pauses

    def check(self) -> list[Part]:
        """Probe each part and return those that were started again; raises ``AnalyticsError`` when one won't run."""
        started = []
        for part, history in self._parts.items():
            if history.due is None:
                reason = part.ended()
            elif time.monotonic() < history.due:
                continue
            else:
                history.due = None
                reason = _start(part)
                if reason is None:
                    started.append(part)
            if reason is not None:
                self._note_end(part, history, reason)
        return started

    def _note_end(self, part: Part, history: _History, reason: str) -> None:
        now = time.monotonic()
        history.ends = [moment for moment in history.ends if now - moment < _WITHIN_SECONDS]
        if len(history.ends) >= len(self._pauses):
            raise AnalyticsError(
                f"The {part.name} was started {len(history.ends)} times within "
                f"{_WITHIN_SECONDS / 60:.0f} minutes and is down again ({reason}): all of it is stopped."
            )
        pause = self._pauses[len(history.ends)]
        history.ends.append(now)
        history.due = now + pause
        self._say(f"The {part.name} is down ({reason}): starting it again in {pause} s.")


def _start(part: Part) -> str | None:
    try:
        part.start()
    except AnalyticsError as error:
        return str(error).rstrip(".")
    return None
