"""Who gets which report by mail.

Belongs here: the rows of ``analytics_report_recipients``. Does not belong here: what they are sent (``mail``).

A company's report goes to that company's recipients, the report over all companies (``company_id`` None) to its
own; nobody gets one through being a recipient of the other.
"""

from dataclasses import dataclass
from datetime import datetime

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.model import MAX_ID_CHARACTERS
from analytics_pipeline.mail_addresses import require_address
from analytics_pipeline.reports.documents import REPORTS
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.connection import Connection, fetch_row


@dataclass(frozen=True, slots=True)
class Recipient:
    """An address that gets a report of a company, None: of all companies together.

    ``corrections``: it is mailed corrected reports by itself, else when a person resends them.
    """

    company_id: str | None
    report: str
    address: str
    added_at: datetime
    corrections: bool


def add_recipient(
    connection: Connection, company_id: str | None, report: str, address: str, *, corrections: bool | None = None
) -> bool:
    """Add an address, whatever its case only once, and tell whether that changed anything.

    ``corrections``: whether documents that are corrected from now on are mailed to it by themselves; None: as it is, of
    a new one no. Raises ``AnalyticsError`` for anything but a plain address, for an unknown report and for what is no
    company id.
    """
    parameters = {**_parameters(company_id, report, address), "corrections": corrections}
    return connection.execute(load_sql("queries/recipient_add.sql"), parameters).fetchone() is not None


def remove_recipient(connection: Connection, company_id: str | None, report: str, address: str) -> int:
    """Remove an address and return how many mails to it were taken back before they left.

    Raises ``AnalyticsError`` when it is no recipient of the report.
    """
    removed, taken_back = fetch_row(
        connection, load_sql("queries/recipient_remove.sql"), _parameters(company_id, report, address)
    )
    if not removed:
        raise AnalyticsError(
            f"{address} is no recipient of {report} for {describe_audience(company_id)}: see "
            "'analytics-pipeline recipients list'."
        )
    return int(taken_back)


def list_recipients(
    connection: Connection, company_id: str | None = None, report: str | None = None, *, everywhere: bool = False
) -> list[Recipient]:
    """Return the recipients of a company's reports, None: of those over all companies; ``everywhere``: all."""
    rows = connection.execute(
        load_sql("queries/recipients.sql"), {"company_id": company_id, "report": report, "everywhere": everywhere}
    ).fetchall()
    return [Recipient(*row) for row in rows]


def is_known_company(connection: Connection, company_id: str) -> bool:
    """Tell whether there is an event of the company."""
    query = "SELECT EXISTS (SELECT FROM analytics_events WHERE company_id = %s)"
    return bool(fetch_row(connection, query, [company_id])[0])


def describe_audience(company_id: str | None) -> str:
    """Say of whom a report is, in a sentence."""
    return "all companies" if company_id is None else f"the company {company_id!r}"


def _parameters(company_id: str | None, report: str, address: str) -> dict[str, str | None]:
    if report not in REPORTS:
        raise AnalyticsError(f"There is no report {report!r}: choose one of {', '.join(REPORTS)}.")
    if company_id is not None and not (0 < len(company_id) <= MAX_ID_CHARACTERS and company_id.isprintable()):
        raise AnalyticsError(f"{company_id[:MAX_ID_CHARACTERS]!r} is no id of a company.")
    try:
        require_address(address)
    except ValueError as error:
        raise AnalyticsError(f"{error}.") from error
    return {"company_id": company_id, "report": report, "address": address}
