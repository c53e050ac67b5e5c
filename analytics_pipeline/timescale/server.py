"""What the program requires of a server: TimescaleDB, its Community edition, a sound version."""

from dataclasses import dataclass

import psycopg

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.timescale.connection import Connection

Version = tuple[int, int, int]

# The floor is the oldest release the whole test suite runs on (the embedded one); before 2.22 the
# catalog lacks the log of interrupted refreshes, without which a stale bucket could look closed.
MINIMUM_VERSION: Version = (2, 23, 0)
# What texts recommend for production: sound releases only.
RECOMMENDED_VERSION: Version = (2, 29, 2)
# From here a refresh that meets another one fails with 55P03 instead of duplicating rows.
CONCURRENT_REFRESH_FIXED: Version = (2, 26, 3)


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What runs where we are connected."""

    postgres_version: str
    timescaledb_version: str
    license: str

    @property
    def version(self) -> Version:
        """TimescaleDB's version as numbers."""
        return parse_version(self.timescaledb_version)

    @property
    def allows_engine_refresh(self) -> bool:
        """Whether refresh policies may run beside Dagster's refreshes."""
        return self.version >= CONCURRENT_REFRESH_FIXED


def parse_version(text: str) -> Version:
    """Turn ``2.27.2-dev`` into ``(2, 27, 2)``."""
    major, minor, patch = text.split("-", maxsplit=1)[0].split(".")
    return int(major), int(minor), int(patch)


def version_text(version: Version) -> str:
    """Turn ``(2, 27, 2)`` into ``2.27.2``."""
    return ".".join(map(str, version))


def ensure_extension(connection: Connection) -> ServerInfo:
    """Create the extension if it is missing and return what runs; autocommit connection.

    Raises ``AnalyticsError`` for a server without TimescaleDB, with its Apache edition, below
    ``MINIMUM_VERSION`` or of the 2.28 series.
    """
    installed = connection.execute(
        "SELECT default_version, installed_version FROM pg_available_extensions WHERE name = 'timescaledb'"
    ).fetchone()
    if installed is None:
        raise AnalyticsError(
            "This PostgreSQL server has no TimescaleDB extension: install the package timescaledb-2 for its "
            "PostgreSQL version, or unset ANALYTICS_DATABASE_URL to use the embedded database."
        )
    _require_sound_version(installed[1] or installed[0])
    if installed[1] is None:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        except psycopg.errors.InsufficientPrivilege as error:
            raise AnalyticsError(
                "The role may not create the TimescaleDB extension: have the database's owner run "
                "CREATE EXTENSION timescaledb, then migrate again."
            ) from error
        except psycopg.OperationalError as error:
            raise AnalyticsError(
                "TimescaleDB is installed but not loaded: add timescaledb to shared_preload_libraries in "
                "postgresql.conf and restart the server."
            ) from error
    info = server_info(connection)
    require_fit_server(info)
    return info


def server_info(connection: Connection) -> ServerInfo:
    """Return the versions and the licence in force.

    Raises ``AnalyticsError`` when the database has no TimescaleDB extension yet.
    """
    row = connection.execute(
        "SELECT current_setting('server_version'), extversion, current_setting('timescaledb.license', true) "
        "FROM pg_extension WHERE extname = 'timescaledb'"
    ).fetchone()
    if row is None:
        raise AnalyticsError(
            "This database has no TimescaleDB extension yet: run 'analytics-pipeline db migrate' first."
        )
    return ServerInfo(postgres_version=row[0], timescaledb_version=row[1], license=row[2] or "unknown")


def require_fit_server(info: ServerInfo) -> None:
    """Raise ``AnalyticsError`` for the Apache edition and for a version this program must not run on."""
    _require_sound_version(info.timescaledb_version)
    if info.license != "timescale":
        raise AnalyticsError(
            f"TimescaleDB runs with the licence {info.license!r}, whose Apache edition has no continuous aggregates, "
            "compression or policies: set timescaledb.license = 'timescale' (Community edition) and restart."
        )


def _require_sound_version(text: str) -> None:
    version = parse_version(text)
    if version < MINIMUM_VERSION:
        raise AnalyticsError(
            f"TimescaleDB {text} is below the floor {version_text(MINIMUM_VERSION)}, the oldest release this program "
            f"is tested on: update the extension to {version_text(RECOMMENDED_VERSION)} or later."
        )
    if version[:2] == (2, 28):
        raise AnalyticsError(
            f"TimescaleDB {text} can leave a bucket unrefreshed permanently (a defect of the 2.28 series): "
            f"update the extension to {version_text(RECOMMENDED_VERSION)} or later."
        )
