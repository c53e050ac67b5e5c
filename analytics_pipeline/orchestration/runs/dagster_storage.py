"""Dagster's own storage as commands use it: with retries, and in one line when it stays away.

Dagster waits about 10 s for a connection. A statement that a restart of the server interrupts it does not repeat, and
what it then prints is three tracebacks of 200 lines.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from inspect import ismethod
from typing import Any

from dagster import DagsterEvent, DagsterEventType, DagsterInstance
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.runs import RunStorage
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from analytics_pipeline.database_urls import describe_url
from analytics_pipeline.embedded import EmbeddedPostgres
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration.dagster_costs import lighten_storage
from analytics_pipeline.settings import Settings

_PAUSES_SECONDS = (1.0, 3.0)
_OURS = (SQLAlchemyError, DagsterPostgresException)
_PASSING = (OperationalError, InterfaceError, DagsterPostgresException)


class StorageError(AnalyticsError):
    """Dagster's storage can't be used, and was tried for a while."""


class _StorageLostError(BaseException):
    """Ends a run whose events can't be stored: Dagster would meet an ``Exception`` with more events to store."""


@contextmanager
def open_instance(settings: Settings) -> Iterator[DagsterInstance]:
    """Open the instance of ``DAGSTER_HOME`` for the block; raises ``StorageError`` when its storage fails."""
    with _in_one_line(settings), DagsterInstance.get() as instance:
        lighten_storage(instance)
        yield instance


def require_storage(settings: Settings) -> None:
    """Raise ``StorageError`` unless the storage of ``DAGSTER_HOME`` answers; a new one gets its tables."""
    with open_instance(settings):
        pass


@contextmanager
def storage_in_use(settings: Settings, instance: DagsterInstance) -> Iterator[None]:
    """Repeat, a few times, what the storage could not do; raises ``StorageError`` when it stays away.

    What was interrupted after all was done is done twice then: an event is stored twice, which says the same. Only
    a run is not made again.
    """
    retries = _StorageRetries()
    with ExitStack() as patched, _in_one_line(settings):
        for storage, interface in ((instance.run_storage, RunStorage), (instance.event_log_storage, EventLogStorage)):
            for name in (interface.__abstractmethods__ | {"store_event_batch"}) - {"add_run"}:
                operation = getattr(storage, name, None)
                if ismethod(operation):
                    setattr(storage, name, retries.of(operation))
                    patched.callback(delattr, storage, name)
        yield


def is_storage_error(error: BaseException) -> bool:
    """Return whether Dagster's storage is what an error comes from."""
    return _cause(error) is not None


def is_storage_failure(events: Iterable[DagsterEvent]) -> bool:
    """Return whether a step failed because Dagster's storage did."""
    for event in events:
        if event.event_type is DagsterEventType.STEP_FAILURE:
            error = event.step_failure_data.error
            while error is not None:
                if error.message.startswith(("sqlalchemy.exc.", "dagster_postgres.")):
                    return True
                error = error.cause
    return False


class _StorageRetries:
    """Repeats what a storage that went away has interrupted; once it is used up, everything fails at once."""

    def __init__(self) -> None:
        self._lost: Exception | None = None

    def of(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def operate(*arguments: Any, **named: Any) -> Any:
            for pause in (*_PAUSES_SECONDS, None):
                if self._lost is not None:
                    raise _StorageLostError from self._lost
                try:
                    return operation(*arguments, **named)
                except _PASSING as error:
                    if pause is None:
                        self._lost = error
                        raise _StorageLostError from error
                    time.sleep(pause)
            raise AssertionError("the last attempt returns or raises")

        return operate


@contextmanager
def _in_one_line(settings: Settings) -> Iterator[None]:
    root = logging.getLogger()
    root.addFilter(_is_no_retry)
    try:
        yield
    except AnalyticsError:
        raise
    except (Exception, _StorageLostError) as error:
        cause = _cause(error)
        if cause is None:
            raise
        raise _storage_error(settings, cause) from error
    finally:
        root.removeFilter(_is_no_retry)


def _storage_error(settings: Settings, error: BaseException) -> StorageError:
    if settings.dagster_postgres_url is None:
        log_file = EmbeddedPostgres(settings.home).log_file
        storage, remedy = "Dagster's embedded storage", f"See {log_file}, and repeat the command."
    else:
        storage = f"Dagster's storage {describe_url(settings.dagster_postgres_url.get_secret_value())}"
        remedy = "Check DAGSTER_POSTGRES_URL and the server, and repeat the command."
    return StorageError(f"{storage} can't be used: {_reason(error)}. {remedy}")


def _is_no_retry(record: logging.LogRecord) -> bool:
    """Leave out what dagster_postgres logs, with the driver's whole text, at each attempt to connect."""
    return "dagster_postgres" not in record.pathname


def _cause(error: BaseException) -> BaseException | None:
    return next((e for e in _chain(error) if isinstance(e, _OURS)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it, the first cause of all at the end."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _reason(error: BaseException) -> str:
    """Return the first line of what the driver said."""
    said = next((e.orig for e in _chain(error) if isinstance(e, DBAPIError) and e.orig is not None), error)
    return (str(said).strip() or "it gave no reason").splitlines()[0].removesuffix(".")
