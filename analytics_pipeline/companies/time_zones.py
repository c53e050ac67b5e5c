"""Which time zones there are: those that the database has data of, whatever Python's own data say."""

from collections.abc import Iterable
from typing import Final

from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection

UTC: Final = "UTC"
# What figures compute with as it is.
_OTHER_NAMES_OF_UTC = frozenset({"etc/utc", "etc/uct", "etc/universal", "etc/zulu", "uct", "universal", "zulu"})


def find_time_zone(connection: Connection, name: str) -> str | None:
    """Return a time zone in the spelling of IANA, whatever the case it is written in; None for an unknown one."""
    return find_time_zones(connection, [name]).get(name)


def find_time_zones(connection: Connection, names: Iterable[str]) -> dict[str, str]:
    """Return those of the names that are time zones, each with its spelling of IANA; any name of UTC as ``UTC``."""
    wanted = set(names)
    if wanted <= {UTC}:
        # Nothing to look up, and the list takes some milliseconds.
        return {name: name for name in wanted}
    known = {zone.lower(): zone for (zone,) in connection.execute(load_query("time_zones")).fetchall()}
    known |= dict.fromkeys(_OTHER_NAMES_OF_UTC & known.keys(), UTC)
    return {name: known[name.lower()] for name in wanted if name.lower() in known}
