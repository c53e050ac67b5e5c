"""The version of the data that answers are of, for ETags: the same version, the same answer.

It is what ``analytics_data_version()`` says, and the day, with which the current month and unfinished periods change.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from analytics_pipeline.api.pools import Readers
from analytics_pipeline.timescale.connection import Connection, fetch_row

# For so long a version counts without asking again: how late an answer's caller may learn of new data.
MAX_AGE_SECONDS = 1.0


def read_version(connection: Connection) -> tuple[datetime, str]:
    """Return the database's clock (UTC) and the version of the data that this transaction sees."""
    now, version = fetch_row(connection, "SELECT clock_timestamp(), analytics_data_version()")
    moment = now.astimezone(UTC)
    return moment, f"{moment:%Y%m%d}.{version}"


class Versions:
    """The version of the data, asked for at most once a second however many ask."""

    def __init__(self, readers: Readers, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the pool to ask with."""
        self._readers = readers
        self._clock = clock
        self._version = ""
        self._until = 0.0
        self._asking = asyncio.Lock()

    @property
    def fresh(self) -> str | None:
        """The version, None when it has to be asked for."""
        return self._version if self._clock() < self._until else None

    async def current(self) -> str:
        """Return the version of the data, at most a second old."""
        async with self._asking:
            if self.fresh is None:
                since = self._clock()
                # Bound to no company: it is the version of all data.
                _, self._version = await self._readers.run("", read_version)
                self._until = since + MAX_AGE_SECONDS
            return self._version
