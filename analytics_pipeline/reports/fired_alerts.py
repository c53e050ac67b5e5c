"""What fired: for reports and for people who look back."""

from dataclasses import dataclass
from datetime import datetime

from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window


@dataclass(frozen=True, slots=True)
class FiredAlert:
    """An alert whose rule fired, from its first to its last period (their starts, UTC).

    ``company`` None: all companies together. ``value`` and ``threshold`` are in words, as the messages have them.
    ``resolution`` is why it is over: recovered, corrected, rule changed or rule removed; None while it goes on.
    """

    rule: str
    description: str
    severity: str
    company: str | None
    granularity: Granularity
    first_period: datetime
    last_period: datetime
    value: str
    threshold: str
    opened_at: datetime
    resolved_at: datetime | None
    resolution: str | None


def fired_alerts(connection: Connection, company_id: str | None, window: Window) -> list[FiredAlert]:
    """Return the alerts with a firing period in a window, of a company, None: of each and of all together.

    In the order of their first period. A ``corrected`` one fired by figures that have changed since.
    """
    rows = connection.execute(
        load_query("alert_fired"), {"company": company_id, "start": window.start, "end": window.end}
    ).fetchall()
    return [
        FiredAlert(rule, description, severity, company, Granularity(granularity), *of_row)
        for rule, description, severity, company, granularity, *of_row in rows
    ]
