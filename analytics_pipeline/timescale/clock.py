"""The clock that decides what has ended: the database's, whatever this machine's own clock says.

The two are compared wherever a wrong one would do harm: Dagster's schedules and partitions follow the clock of the
machine, events are dated by machines, and what is closed must have ended for all of them.
"""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from analytics_pipeline.errors import RefusedError
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Window

_log = logging.getLogger(__name__)

# A difference above the first is said, one above the second is refused.
MAX_SILENT_DIFFERENCE = timedelta(minutes=1)
MAX_DIFFERENCE = timedelta(minutes=5)
SET_CLOCK = "timedatectl set-ntp true"


class ClockError(RefusedError):
    """The machine's clock and the database's are too far apart to close anything or to date events."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The machine's clock and the database's, read together; ``uncertainty`` is half of the round trip."""

    machine: datetime
    database: datetime
    uncertainty: timedelta

    @property
    def difference(self) -> timedelta:
        """How far the two are apart at least: what the round trip may have taken is no difference."""
        return max(abs(self.machine - self.database) - self.uncertainty, timedelta(0))

    def __str__(self) -> str:
        """Say both clocks and the difference for people."""
        apart = _in_words(abs(self.machine - self.database))
        side = "ahead of" if self.machine > self.database else "behind"
        return (
            f"this machine's clock says {self.machine:%Y-%m-%d %H:%M:%S} UTC, {apart} {side} the database's, "
            f"which says {self.database:%Y-%m-%d %H:%M:%S} UTC"
        )


def machine_now() -> datetime:
    """Return what the clock of this machine says, in UTC."""
    return datetime.now(UTC)


def database_now(connection: Connection) -> datetime:
    """Return what the database's clock says, in UTC; the time goes on within a transaction, too."""
    (now,) = fetch_row(connection, "SELECT clock_timestamp()")
    return now.astimezone(UTC)  # type: ignore[no-any-return]


def read_clocks(connection: Connection) -> Clocks:
    """Read both clocks, in one round trip: the database's counts for the middle of it."""
    before = machine_now()
    database = database_now(connection)
    half = (machine_now() - before) / 2
    return Clocks(before + half, database, half)


def check_clock(connection: Connection) -> datetime:
    """Return what the database's clock says, once this machine's was compared with it.

    A difference above a minute is logged as a warning. Raises ``ClockError`` above five minutes, naming both clocks,
    the difference and the remedy.
    """
    clocks = read_clocks(connection)
    if clocks.difference > MAX_DIFFERENCE:
        raise ClockError(
            f"The clocks differ: {clocks}. Nothing is closed and no event is taken while they are more than "
            f"{_in_words(MAX_DIFFERENCE)} apart: set the clock that is wrong ({SET_CLOCK}), and repeat."
        )
    say_difference(clocks)
    return clocks.database


def say_difference(clocks: Clocks) -> None:
    """Log a warning if the clocks differ by more than a minute."""
    if clocks.difference > MAX_SILENT_DIFFERENCE:
        _log.warning("The clocks differ: %s. Set the one that is wrong (%s).", clocks, SET_CLOCK)


def require_ended(connection: Connection, what: str, window: Window) -> None:
    """Raise ``RefusedError`` if the window has not ended by the database's clock, or the clocks differ too much."""
    now = check_clock(connection)
    if window.end > now:
        raise RefusedError(
            f"{what} can't be closed for {window}: by the database's clock it is {now:%Y-%m-%d %H:%M:%S} UTC, and the "
            "window has not ended yet. Close it once it has."
        )


class DatabaseClock:
    """The database's time without a round trip each time it is asked for: it was read once and goes on from there.

    Later jumps of this machine's clock don't move it.
    """

    def __init__(self, connection: Connection) -> None:
        """Read the database's clock, in a transaction of its own; raises ``ClockError`` as ``check_clock`` does."""
        with connection.transaction():
            self._read = check_clock(connection)
        self._read_at = time.monotonic()

    def now(self) -> datetime:
        """Return the database's time, in UTC."""
        return self._read + timedelta(seconds=time.monotonic() - self._read_at)


def _in_words(span: timedelta) -> str:
    day, hour, minute = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
    # The two largest units say enough.
    smallest = hour if span >= day else minute if span >= hour else timedelta(seconds=1)
    rest = round(span / smallest) * smallest
    said = []
    for unit, size in (("day", day), ("hour", hour), ("minute", minute), ("second", timedelta(seconds=1))):
        number, rest = divmod(rest, size)
        if number:
            said.append(f"{number} {unit}{'' if number == 1 else 's'}")
    return " and ".join(said) or "0 seconds"
