"""How the policy jobs of this database are doing, whoever runs them."""

from dataclasses import dataclass
from datetime import datetime

from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection

# Another session held what the job needed: the engine tries again by itself.
_CONFLICTS = {"55P03", "40001", "40P01"}
_FAILURES_BEYOND_A_CONFLICT = 3


@dataclass(frozen=True, slots=True)
class JobHealth:
    """One policy job and how its last finished run ended; ``succeeded`` is None before the first one.

    ``failing_since`` and ``failures`` count from the last success.
    """

    job_id: int
    procedure: str
    relation: str | None
    succeeded: bool | None
    started_at: datetime | None
    failing_since: datetime | None
    failures: int
    sqlstate: str | None
    error: str | None
    is_paused: bool

    @property
    def name(self) -> str:
        """The job as people know it; it stays the same when the policy is replaced."""
        return f"{self.procedure} on {self.relation}" if self.relation else f"{self.procedure} (job {self.job_id})"

    @property
    def is_failing(self) -> bool:
        """Whether somebody should look: a lost race for a lock counts from the third in a row."""
        if self.is_paused:
            return True
        is_conflict = self.sqlstate in _CONFLICTS and self.failures < _FAILURES_BEYOND_A_CONFLICT
        return self.succeeded is False and not is_conflict


def read_job_health(connection: Connection) -> list[JobHealth]:
    """Return every policy job but TimescaleDB's own.

    On PostgreSQL 15.20 every background job is recorded as failed (24000, "cannot drop portal") although its
    work commits: such a run counts as a success.
    """
    rows = connection.execute(load_query("policy_job_health")).fetchall()
    return [JobHealth(*row) for row in rows]
