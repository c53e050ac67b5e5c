"""What sensors share: their arguments, one run of a job at a time, and notes to people, bounded and logged once."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dagster import (
    DagsterInstance,
    DefaultSensorStatus,
    RunRecord,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    sensor,
)

from analytics_pipeline.orchestration.shared import AssetJob
from analytics_pipeline.text import printable

MAX_SHOWN = 5
_MAX_LENGTH = 400


def pipeline_sensor(
    name: str, every: int, description: str, *, job: str | None = None, jobs: Sequence[AssetJob] | None = None
) -> Callable[[Callable[..., Any]], SensorDefinition]:
    """Return the decorator of a sensor that is switched on and is evaluated ``every`` so many seconds.

    It may ask for runs of a ``job`` by its name, or of several ``jobs``.
    """
    return sensor(
        name=name,
        description=description,
        job_name=job,
        jobs=jobs,
        minimum_interval_seconds=every,
        default_status=DefaultSensorStatus.RUNNING,
    )


def in_words(notes: Iterable[str]) -> str:
    """Return the first notes as one text, each bounded, with how many there are besides."""
    listed = list(notes)
    shown = [note if len(note) <= _MAX_LENGTH else f"{note[: _MAX_LENGTH - 3]}..." for note in listed[:MAX_SHOWN]]
    more = [f"and {len(listed) - MAX_SHOWN} more"] if len(listed) > MAX_SHOWN else []
    return "; ".join([*shown, *more])


def warn_of_news(context: SensorEvaluationContext, notes: Iterable[str]) -> str:
    """Log notes as a warning if they are not those of the tick before, and return the cursor that remembers them."""
    text = printable(in_words(notes))
    cursor = hashlib.sha256(text.encode()).hexdigest() if text else "none"
    if text and cursor != context.cursor:
        context.log.warning(text)
    return cursor


@dataclass(frozen=True, slots=True)
class LatestRun:
    """The latest run of a job, None before the first: what a sensor asks that lets one run work at a time."""

    record: RunRecord | None

    @classmethod
    def of(cls, instance: DagsterInstance, job: str) -> "LatestRun":
        """Read it from the instance."""
        return cls(next(iter(instance.get_run_records(RunsFilter(job_name=job), limit=1)), None))

    @property
    def age(self) -> timedelta | None:
        """How long ago it was made, None before the first."""
        return None if self.record is None else datetime.now(UTC) - self.record.create_timestamp

    def is_unfinished(self, within: timedelta = timedelta.max) -> bool:
        """Return whether it waits or works; one that was made longer ago than ``within`` counts as dead or stuck."""
        age = self.age
        return self.record is not None and not self.record.dagster_run.is_finished and age is not None and age < within

    def request_next(self, why: str, tags: Mapping[str, str] | None = None) -> RunRequest:
        """Return the request of the run after it.

        Dagster never launches a run key twice, failed runs included. So the key names the run before this one, and why
        it is asked for: while nothing has run since, asking again is harmless, and afterwards it is another key.
        """
        before = "no run" if self.record is None else self.record.dagster_run.run_id
        return RunRequest(run_key=f"{why}, after {before}", tags=tags)
