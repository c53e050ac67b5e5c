"""The rows of companies (``analytics_companies``): stored, removed and read here alone.

What a person sets stays as it is set; what a person has not set, or has set to nothing, is as an ERP's source has it.
The database makes periods stale that a changed time zone or currency concerns.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from analytics_pipeline.companies.company_values import FIELDS, CompanyValues
from analytics_pipeline.errors import UnknownNameError
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.connection import Connection


@dataclass(frozen=True, slots=True)
class CompanyRow:
    """What is known of a company, each None where the platform's settings count.

    ``by_hand`` names the fields that a person has set.
    """

    company_id: str
    name: str | None
    time_zone: str | None
    currency: str | None
    locale: str | None
    is_test: bool
    by_hand: Sequence[str]
    changed_at: datetime


def list_companies(connection: Connection) -> list[CompanyRow]:
    """Return the rows there are, in the order of their ids."""
    with connection.cursor(row_factory=class_row(CompanyRow)) as cursor:
        return cursor.execute(load_query("company_rows")).fetchall()


def store_companies(
    connection: Connection, companies: Sequence[CompanyValues], *, by_hand: bool
) -> dict[str, Mapping[str, Any] | None]:
    """Store what is said of companies, each of them once, in the caller's transaction.

    Returns by id how each row that is another one now was before, None: there was none. Fields that a person has set
    change ``by_hand`` alone, each of which is an act in the audit table.
    """
    # Of two at once the second one sees what the first one stored.
    connection.execute("LOCK TABLE analytics_companies IN SHARE ROW EXCLUSIVE MODE")
    parameters = {"companies": json.dumps([asdict(one) for one in companies]), "by_hand": by_hand}
    changed: dict[str, Mapping[str, Any] | None] = dict(
        connection.execute(load_query("company_store"), parameters).fetchall()
    )
    if by_hand:
        for one in companies:
            if one.company_id in changed:
                details = {"set": dict(one.fields), "before": changed[one.company_id]}
                audit.record(connection, "company.set", one.company_id, details)
    return changed


def remove_company(connection: Connection, company_id: str) -> None:
    """Remove the row of a company, which has the platform's settings from then on; its events stay.

    Raises ``UnknownNameError`` if it has none.
    """
    with connection.transaction():
        row = connection.execute(load_query("company_remove"), {"company_id": company_id}).fetchone()
        if row is None:
            raise UnknownNameError(f"The company {company_id!r} has no row: see 'analytics-pipeline companies list'.")
        audit.record(connection, "company.remove", company_id, {"before": dict(zip(FIELDS, row, strict=True))})
