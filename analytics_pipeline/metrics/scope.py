"""What every answer says about itself: which definitions, how far the data reaches, whether it may change."""

from dataclasses import dataclass
from datetime import datetime

from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Window

# The version of the metric definitions in docs/DEFINITIONS.md; raise it when a definition changes.
DEFINITIONS_VERSION = 1


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of an answer; ``provisional`` means its period has not been filled with data to its end."""

    company_id: str | None
    window: Window
    data_through: datetime | None
    provisional: bool


def scope(connection: Connection, company_id: str | None, window: Window) -> Scope:
    """Return the scope of an answer for a company (``None``: all) and a window."""
    row = fetch_row(connection, "SELECT analytics_data_through(%s), now() < %s", [company_id, window.end])
    data_through, unfinished = row
    return Scope(company_id, window, data_through, unfinished)
