"""Which database is in use, the configured server or the embedded one started on demand, and connections to it."""

import os
from collections.abc import Callable

from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.timescale.connection import open_connection
from analytics_pipeline.timescale.migrations import MigrationReport, apply_migrations
from analytics_pipeline.timescale.policies import PolicyValues
from analytics_pipeline.timescale.waiting import WatchedConnection


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


def migrate(settings: Settings | None = None, *, on_wait: Callable[[str], None] | None = None) -> MigrationReport:
    """Bring the database to this version's schema, as ``timescale.migrations`` does.

    The settings' retention, compression and refresh owner count for a new database only. What it waits for is logged,
    and given to ``on_wait``. Raises ``AnalyticsError`` as ``connect`` and ``apply_migrations`` do.
    """
    settings = settings or get_settings()
    asked = PolicyValues(settings.retention, settings.compress_after, settings.refresh_owner)
    with connect(settings, autocommit=True, on_wait=on_wait) as connection:
        # A default is nothing that anybody asked for.
        return apply_migrations(connection, asked, named=settings.model_fields_set)
