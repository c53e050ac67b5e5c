"""Which process executes a run: it says so in the run's tags, where whoever reads runs finds it, on any host."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from dagster import DagsterInstance, DagsterRun, RunRecord
from dagster._core.events import RunFailureReason

from analytics_pipeline.orchestration.runs import tags
from analytics_pipeline.processes import process_stat

# Which run the other tags speak of: a re-execution inherits the tags of its parent.
_RUN = "analytics/executed_run"
_HOST = "analytics/host"
_BOOT = "analytics/boot_id"
_NAMESPACE = "analytics/pid_namespace"
_PID = "analytics/pid"
_STARTED = "analytics/process_start"


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that executes a run. Off Linux, or with a foreign /proc, only host and pid are known."""

    host: str
    pid: int
    boot_id: str = ""
    pid_namespace: str = ""
    started: str = ""

    @classmethod
    def this_process(cls) -> "Owner":
        """Return the process that asks."""
        host, pid = socket.gethostname(), os.getpid()
        try:
            if str(Path("/proc/self").readlink()) != str(pid):
                return cls(host, pid)
            boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            return cls(host, pid, boot_id, str(Path("/proc/self/ns/pid").readlink()), str(process_stat(pid)[1]))
        except OSError:
            return cls(host, pid)

    @classmethod
    def of(cls, run: DagsterRun) -> "Owner | None":
        """Return who executes the run, None if nobody has said so."""
        said = run.tags
        if said.get(_RUN) != run.run_id:
            return None
        return cls(said[_HOST], int(said[_PID]), said.get(_BOOT, ""), said.get(_NAMESPACE, ""), said.get(_STARTED, ""))

    def tags(self, run_id: str) -> dict[str, str]:
        """Return the tags that say so of a run."""
        known = {_BOOT: self.boot_id, _NAMESPACE: self.pid_namespace, _STARTED: self.started}
        return {
            _RUN: run_id,
            _HOST: self.host,
            _PID: str(self.pid),
            **{name: value for name, value in known.items() if value},
        }

    def has_ended(self) -> bool:
        """Return whether the process is known to have ended; False where that can't be seen from here."""
        here = Owner.this_process()
        place = (self.host, self.boot_id, self.pid_namespace)
        if not self.boot_id or place != (here.host, here.boot_id, here.pid_namespace):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        try:
            state, started = process_stat(self.pid)
        except OSError:
            return False
        return state in "ZX" or str(started) != self.started

    def __str__(self) -> str:
        """Name the process for people."""
        return f"process {self.pid} on {self.host}"


def own_run(instance: DagsterInstance, run: DagsterRun) -> None:
    """Say in the run's tags that this process executes it."""
    owner = Owner.this_process()
    if Owner.of(run) != owner:
        instance.add_run_tags(run.run_id, owner.tags(run.run_id))


def never_began(record: RunRecord) -> bool:
    """Return whether a run ended before its process began to execute it: it has changed nothing.

    That is so of a run that ``close`` or ``demo`` had only made. What the daemon could not start is another matter.
    """
    run = record.dagster_run
    return run.is_failure_or_canceled and record.start_time is None and Owner.of(run) is not None


def has_died_in_command(run: DagsterRun) -> bool:
    """Return whether the process of a command died on the run, which says nothing against another attempt.

    A worker of the daemon that died is an attempt: what it was at may have killed it.
    """
    reason = run.tags.get(tags.FAILURE_REASON)
    is_dead = Owner.of(run) is not None and reason == RunFailureReason.UNEXPECTED_TERMINATION.value
    return is_dead and run.tags.get(tags.REASON) in (tags.CLOSE, tags.DEMO)
