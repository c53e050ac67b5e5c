"""What every answer says about itself: which definitions, how far the data reaches, whether it may change."""

from dataclasses import dataclass
from datetime import datetime

from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Window

# The version of the metric definitions in docs/DEFINITIONS.md; raise it when a definition changes.
DEFINITIONS_VERSION = 3


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of an answer.

    ``as_of`` is the instant its balances are of: the period's end or, while it is ``provisional`` (has not ended
    yet), ``data_through``, but never before its start. ``data_through`` is the newest event of the whole data set,
    whatever company is asked for; None without any.
    """

    company_id: str | None
    window: Window
    as_of: datetime
    data_through: datetime | None
    provisional: bool


def scope(connection: Connection, company_id: str | None, window: Window) -> Scope:
    """Return the scope of an answer for a company (``None``: all) and a window."""
    query = "SELECT analytics_as_of(%s, %s), analytics_data_through(), now() < %s"
    row = fetch_row(connection, query, [window.start, window.end, window.end])
    as_of, data_through, unfinished = row
    return Scope(company_id, window, as_of, data_through, unfinished)
