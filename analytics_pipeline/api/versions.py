"""The version of the data that answers are of, for ETags: the same version, the same answer.

It is what ``analytics_data_version()`` says, and the quarter of an hour: with the day the current month and unfinished
periods change, and somewhere on earth a day begins at any of these.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from psycopg import Error
from psycopg_pool import PoolTimeout

from analytics_pipeline.api.pools import Readers
from analytics_pipeline.timescale.connection import Connection, fetch_row

# For so long a version counts without asking again: how late an answer's caller may learn of new data.
MAX_AGE_SECONDS = 1.0


def read_version(connection: Connection) -> tuple[datetime, str]:
    """Return the database's clock (UTC) and the version of the data that this transaction sees."""
    now, version = fetch_row(connection, "SELECT clock_timestamp(), analytics_data_version()")
    moment = now.astimezone(UTC)
    return moment, f"{moment:%Y%m%d%H}{moment.minute // 15}.{version}"


class Versions:
    """The version of the data, asked for at most once a second however many ask."""

    def __init__(self, readers: Readers, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the pool to ask with."""
        self._readers = readers
        self._clock = clock
        self._version = ""
        self._since = self._until = float("-inf")
        self._asking = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None

    @property
    def fresh(self) -> str | None:
        """The version, None when it has to be asked for; in the second half of its time it is renewed meanwhile."""
        left = self._until - self._clock()
        if left <= 0:
            return None
        if left < MAX_AGE_SECONDS / 2 and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(self._renew())
        return self._version

    async def current(self) -> str:
        """Return the version of the data, at most a second old."""
        async with self._asking:
            if self._clock() >= self._until:
                await self._ask()
            return self._version

    def now(self) -> float:
        """Return the time that ``note`` takes."""
        return self._clock()

    def note(self, version: str, since: float) -> None:
        """Take a version that was read after ``since``, unless one that was read later is known."""
        if since > self._since:
            self._version, self._since, self._until = version, since, since + MAX_AGE_SECONDS

    async def _renew(self) -> None:
        # Whoever asks next asks again, and gets the error.
        with suppress(Error, PoolTimeout):
            await self._ask()

    async def _ask(self) -> None:
        since = self.now()
        # Bound to no company: it is the version of all data.
        _, version = await self._readers.run("", read_version, may_lag=True)
        self.note(version, since)
