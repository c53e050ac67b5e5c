"""Which database is in use, the configured server or the embedded one started on demand, and connections to it."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from analytics_pipeline.errors import DatabaseUnreachableError, first_line
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.text import without_credentials
from analytics_pipeline.timescale.connection import Connection, fetch_row, open_connection
from analytics_pipeline.timescale.migrations import MigrationReport, apply_migrations
from analytics_pipeline.timescale.policies import PolicyValues
from analytics_pipeline.timescale.waiting import WatchedConnection

_log = logging.getLogger(__name__)

# Seconds that a replica has for what its primary has committed, and between two looks at how far it is.
_CATCHES_UP_WITHIN = 10.0
_LOOK_EVERY = 0.05


def database_url(settings: Settings | None = None) -> str:
    """Return the libpq URL to work on; starts the embedded server if no other is configured."""
    settings = settings or get_settings()
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    # A production process has a server of its own and needs neither Node nor this import.
    from analytics_pipeline.embedded import EmbeddedTimescale

    embedded = EmbeddedTimescale(settings.home)
    embedded.start()
    return embedded.url


def connect(
    settings: Settings | None = None,
    *,
    autocommit: bool = False,
    lock_timeout: float | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> WatchedConnection:
    """Open a connection whose session time zone is UTC, and whose statements don't wait in silence (``waiting``).

    ``lock_timeout`` is how many seconds a statement waits for others, None: ``ANALYTICS_LOCK_TIMEOUT``; what it waits
    for is logged, and given to ``on_wait``. Raises ``AnalyticsError`` naming server and remedy, never the password,
    when it can't be reached.
    """
    settings = settings or get_settings()
    return open_connection(
        database_url(settings),
        # The embedded server can't see which process a client is.
        "analytics_pipeline" if settings.database_url else f"analytics_pipeline {os.getpid()}",
        autocommit=autocommit,
        lock_timeout=settings.lock_timeout if lock_timeout is None else lock_timeout,
        on_wait=on_wait,
    )


def connect_reader(settings: Settings | None = None) -> WatchedConnection:
    """Open an autocommit connection for answers: to the replica of ``ANALYTICS_READER_URL``, unset as ``connect``.

    The replica shows the data as far as it has followed its primary, which is what ``dataThrough`` says then. Raises as
    ``connect`` does.
    """
    settings = settings or get_settings()
    if settings.reader_url is None:
        return connect(settings, autocommit=True)
    return open_connection(
        settings.reader_url.get_secret_value(),
        "analytics_pipeline reader",
        autocommit=True,
        lock_timeout=settings.lock_timeout,
        on_wait=None,
        setting="ANALYTICS_READER_URL",
    )


@contextmanager
def reading(settings: Settings, primary: Connection) -> Iterator[Connection]:
    """Yield a connection that sees at least what ``primary`` sees now, for reading alone.

    It is one to the replica of ``ANALYTICS_READER_URL``, for which is waited until it has followed its primary so far;
    where that takes too long, or it can't be reached, ``primary`` itself, which is logged.
    """
    if settings.reader_url is None:
        yield primary
        return
    try:
        replica = connect_reader(settings)
    except DatabaseUnreachableError as error:
        _log.warning("The primary is read instead of the replica. %s", error)
        yield primary
        return
    with replica:
        if reason := _why_behind(replica, primary):
            _log.warning("The primary is read instead of the replica: %s.", reason)
            yield primary
        else:
            yield replica


def _why_behind(replica: Connection, primary: Connection) -> str | None:
    """Return why a replica is not as far as its primary is now, in words, None as soon as it is."""
    deadline = time.monotonic() + _CATCHES_UP_WITHIN
    try:
        (position,) = fetch_row(primary, "SELECT pg_current_wal_lsn()")
        while True:
            (is_there,) = fetch_row(
                replica, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn OR NOT pg_is_in_recovery()", [position]
            )
            if is_there:
                return None
            if time.monotonic() > deadline:
                return f"it has not followed its primary within {_CATCHES_UP_WITHIN:.0f} s"
            time.sleep(_LOOK_EVERY)
    except psycopg.Error as error:
        return first_line(error)


def migrate(settings: Settings | None = None, *, on_wait: Callable[[str], None] | None = None) -> MigrationReport:
    """Bring the database to this version's schema, as ``timescale.migrations`` does.

    The settings' retention, compression and refresh owner count for a new database only. What it waits for is logged,
    and given to ``on_wait``. Raises ``AnalyticsError`` as ``connect`` and ``apply_migrations`` do.
    """
    settings = settings or get_settings()
    asked = PolicyValues(settings.retention, settings.compress_after, settings.refresh_owner)
    with connect(settings, autocommit=True, on_wait=on_wait) as connection:
        # A default is nothing that anybody asked for.
        return apply_migrations(
            connection,
            asked,
            named=settings.model_fields_set,
            archive=without_credentials(settings.archive) or None,
        )
