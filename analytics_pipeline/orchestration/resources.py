"""What assets and checks are given to work with."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from dagster import ConfigurableResource, Failure

from analytics_pipeline.errors import AnalyticsError, DatabaseUnreachableError
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.timescale.connection import Connection, connect


class Timescale(ConfigurableResource):  # type: ignore[type-arg]
    """The TimescaleDB of the settings. It holds no configuration of its own, so no secret reaches the UI."""

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return get_settings()

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """Open an autocommit session for one step.

        What may pass by itself (no connection, a lock, a deadlock, a serialization failure) is raised as it is,
        and the step's retry policy repeats the step. Everything else ends the run at once, in one sentence:
        repeating it would fail the same way.
        """
        try:
            with connect(self.settings, autocommit=True) as connection:
                yield connection
        except (DatabaseUnreachableError, psycopg.OperationalError):
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
                description=f"The database refused the statement: {str(error).strip().splitlines()[0]}",
                allow_retries=False,
            ) from error
