"""Which time zones there are: those that the database has data of, whatever Python's own data say."""

from typing import Final

from analytics_pipeline.errors import UnknownNameError
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection

UTC: Final = "UTC"
# What figures compute with as it is.
_OTHER_NAMES_OF_UTC = ("etc/utc", "etc/uct", "etc/universal", "etc/zulu", "uct", "universal", "zulu")


def known_time_zones(connection: Connection) -> dict[str, str]:
    """Return every time zone in the spelling of IANA by its name in small letters; any name of UTC gives ``UTC``."""
    known = {zone.lower(): zone for (zone,) in connection.execute(load_query("time_zones")).fetchall()}
    return known | dict.fromkeys(_OTHER_NAMES_OF_UTC, UTC)


def require_time_zone(connection: Connection, name: str) -> str:
    """Return a time zone in the spelling of IANA; raises ``UnknownNameError`` for one the database has no data of."""
    if name == UTC:
        return name
    found = known_time_zones(connection).get(name.lower())
    if found is None:
        raise UnknownNameError(f"The database knows no time zone {name!r}: give a name of IANA such as Europe/Berlin.")
    return found
