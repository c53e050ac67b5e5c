"""What assets and checks are given to work with."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias

import psycopg
from dagster import DagsterInvariantViolationError, Failure, OpExecutionContext, ResourceParam
from dagster._utils.interrupts import raise_interrupts_as

from analytics_pipeline.database import connect
from analytics_pipeline.errors import AnalyticsError, DatabaseUnreachableError, first_line
from analytics_pipeline.orchestration.runs.cancellation import is_interrupted
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.timescale.waiting import WatchedConnection

# Seconds that a sensor waits for other sessions: Dagster ends a tick after a minute, and the next one tries again.
SENSOR_LOCK_TIMEOUT = 20


class TimescaleResource:
    """The TimescaleDB of the settings. It has no configuration of Dagster's, so no secret reaches the UI."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Take settings of its own, None: whatever those of the process are when they are asked for."""
        self._settings = settings

    @property
    def settings(self) -> Settings:
        """The settings to work by."""
        return self._settings or get_settings()

    def sessions_of_run(self) -> int:
        """Return in how many sessions a run may close partitions: one on the embedded database, which has one.

        Where the database can't be reached its steps say so, one after the other.
        """
        if self.settings.closing_sessions == 1:
            return 1
        with suppress(DatabaseUnreachableError), connect(self.settings) as connection:
            return 1 if connection.is_embedded else self.settings.closing_sessions
        return 1

    @contextmanager
    def session(self) -> Iterator[WatchedConnection]:
        """Open an autocommit session for one step, or one tick of a sensor.

        What may pass by itself (no connection, a conflict of refreshes, a deadlock, a serialization failure) is raised
        as it is, and the step's retry policy repeats the step. Everything else ends the run at once, in one sentence:
        repeating it would fail the same way. So does a wait for another session that took too long: it was repeated
        all the while.

        What a step waits for stands in its run's log.
        """
        step = _current_step()
        try:
            # As a KeyboardInterrupt, at which psycopg cancels the statement: of Dagster's own interruption it knows
            # nothing, and the server would go on with the statement and hold its locks.
            with (
                raise_interrupts_as(KeyboardInterrupt),
                connect(
                    self.settings,
                    autocommit=True,
                    lock_timeout=None if step else min(SENSOR_LOCK_TIMEOUT, self.settings.lock_timeout),
                    on_wait=step.log.warning if step else None,
                ) as connection,
            ):
                yield connection
        except (DatabaseUnreachableError, psycopg.OperationalError) as error:
            if is_interrupted():
                raise KeyboardInterrupt from error
            raise
        except AnalyticsError as error:
            raise Failure(description=str(error), allow_retries=False) from error
        except psycopg.errors.UndefinedTable as error:
            raise Failure(
                description=f"{error.diag.message_primary}: materialize analytics_events first, or run "
                "'analytics-pipeline db migrate'.",
                allow_retries=False,
            ) from error
        except psycopg.Error as error:
            raise Failure(
                description=f"The database refused the statement: {first_line(error)}",
                allow_retries=False,
            ) from error


def _current_step() -> OpExecutionContext | None:
    """Return the context of the step that is running, None in a sensor."""
    try:
        return OpExecutionContext.get()
    except DagsterInvariantViolationError:
        return None


# As which assets, checks, ops and sensors take it.
Timescale: TypeAlias = ResourceParam[TimescaleResource]
