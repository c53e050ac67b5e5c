"""What assets and checks are given to work with."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from dagster import ConfigurableResource, Failure

from analytics_pipeline.errors import AnalyticsError
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

        An error the user can mend ends the run at once, in one sentence: repeating it would not help.
        """
        try:
            with connect(self.settings, autocommit=True) as connection:
                yield connection
        except AnalyticsError as error:
            raise Failure(description=str(error), allow_retries=False) from error
        except psycopg.errors.UndefinedTable as error:
            raise Failure(
                description=f"{error.diag.message_primary}: materialize analytics_events first, or run "
                "'analytics-pipeline db migrate'.",
                allow_retries=False,
            ) from error
