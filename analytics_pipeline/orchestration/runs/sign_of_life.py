"""The sign of life that a process gives for a run it executes, every few seconds, in Dagster's own storage.

There whoever reads the runs finds it, on any host, and its clock measures the silence. A run that was given up for its
silence can't be renewed: its process ends it instead of reporting success.
"""

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

import sqlalchemy
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.storage.runs.schema import KeyValueStoreTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from sqlalchemy.exc import IntegrityError

from analytics_pipeline.errors import AnalyticsError

_BEAT_SECONDS = 5.0
_SILENT_AFTER = timedelta(seconds=30)
_GIVEN_UP = "given up"
_TABLE = KeyValueStoreTable


class RunLostError(AnalyticsError):
    """The run that this process executes was ended by somebody else: it must not report success."""


class SignOfLife:
    """The sign of life that this process gives for a run, renewed by a thread until ``stop``."""

    def __init__(self, instance: DagsterInstance, run_id: str) -> None:
        """Name the run; it need not exist yet."""
        self._instance = instance
        self._run_id = run_id
        self._stopped = threading.Event()
        self._lost: str | None = None
        self._settled = False
        self._thread = threading.Thread(target=self._renew_until_stopped, name="sign-of-life", daemon=True)

    def begin(self) -> None:
        """Give the first sign; raises what keeps Dagster's storage from being used."""
        with _storage(self._instance).connect() as connection:
            now = _now(connection)
        self._instance.run_storage.set_cursor_values({_key(self._run_id): now.isoformat()})
        self._thread.start()

    def renew(self) -> None:
        """Give a sign now; raises ``RunLostError`` if the run was given up, cancelled or ended by somebody else."""
        update = _TABLE.update().where(_TABLE.c.key == _key(self._run_id), _TABLE.c.value != _GIVEN_UP)
        with _storage(self._instance).connect() as connection:
            is_renewed = connection.execute(update.values(value=_now(connection).isoformat())).rowcount == 1
        run = self._instance.get_run_by_id(self._run_id)
        if not is_renewed:
            self._lost = (
                "was marked failed, because this process gave no sign of life for a while (it was stopped, or cut off "
                "from Dagster's storage): start again what it did"
            )
        elif self._settled:
            pass
        elif run is not None and run.status is DagsterRunStatus.CANCELING:
            self._lost = "was cancelled in the Dagster UI"
        elif run is not None and run.is_finished:
            self._lost = "was ended by somebody else"
        self.require()

    def settle(self) -> None:
        """Say that this process is about to report how the run ended: from now on it is ended by nobody else."""
        self._settled = True

    def require(self) -> None:
        """Raise ``RunLostError`` if the last sign found the run lost."""
        if self._lost is not None:
            raise RunLostError(f"Run {self._run_id} {self._lost}.")

    def stop(self) -> None:
        """End the thread and leave nothing behind; harmless when the storage can't be reached."""
        self._stopped.set()
        self._thread.join()
        forget(self._instance, self._run_id)

    def _renew_until_stopped(self) -> None:
        while not self._stopped.wait(_BEAT_SECONDS):
            try:
                self.renew()
            except RunLostError:
                return
            except BaseException:  # noqa: BLE001, S112  # the storage is away: the next sign will show
                continue


_signs: dict[str, SignOfLife] = {}


@contextmanager
def sign_of_life(instance: DagsterInstance, run_id: str) -> Iterator[SignOfLife]:
    """Give signs of life for a run within the block; a block inside another one shares its signs."""
    if run_id in _signs:
        yield _signs[run_id]
        return
    sign = SignOfLife(instance, run_id)
    sign.begin()
    _signs[run_id] = sign
    try:
        yield sign
    finally:
        del _signs[run_id]
        sign.stop()


@dataclass(frozen=True, slots=True)
class Signs:
    """What the storage held at its time ``now``: by run id the last sign, as it was written."""

    now: datetime
    values: Mapping[str, str]

    def is_silent(self, run_id: str) -> bool:
        """Return whether six signs of the run were missed."""
        value = self.values.get(run_id)
        return value is None or value == _GIVEN_UP or self.now - datetime.fromisoformat(value) > _SILENT_AFTER


def read_signs(instance: DagsterInstance, run_ids: Collection[str]) -> Signs:
    """Return the last signs of runs; of a run that never had one, or whose process has left in order, there is none."""
    with _storage(instance).connect() as connection:
        now = _now(connection)
    values = instance.run_storage.get_cursor_values({_key(run_id) for run_id in run_ids})
    return Signs(now, {run_id: values[_key(run_id)] for run_id in run_ids if _key(run_id) in values})


def give_up(instance: DagsterInstance, run_id: str, seen: str | None) -> bool:
    """Give the run up, unless its process has given another sign than the one that was seen."""
    with _storage(instance).connect() as connection:
        if seen is not None:
            update = _TABLE.update().where(_TABLE.c.key == _key(run_id), _TABLE.c.value == seen).values(value=_GIVEN_UP)
            return connection.execute(update).rowcount == 1
        try:
            connection.execute(_TABLE.insert().values(key=_key(run_id), value=_GIVEN_UP))
        except IntegrityError:
            return False
    return True


def forget(instance: DagsterInstance, run_id: str) -> None:
    """Delete the sign of a run whose process gives none any more."""
    try:
        with _storage(instance).connect() as connection:
            connection.execute(_TABLE.delete().where(_TABLE.c.key == _key(run_id)))
    except Exception:  # noqa: BLE001, S110  # the storage is away: what stays is one small row
        pass


def _storage(instance: DagsterInstance) -> SqlRunStorage:
    return cast("SqlRunStorage", instance.run_storage)


def _now(connection: sqlalchemy.Connection) -> datetime:
    """Return the time of the storage, whatever the clocks of those who read and write it say."""
    now: datetime = connection.execute(sqlalchemy.select(sqlalchemy.func.current_timestamp())).scalar_one()
    # SQLite's has no zone.
    return now if now.tzinfo else now.replace(tzinfo=UTC)


def _key(run_id: str) -> str:
    return f"analytics/sign_of_life/{run_id}"
