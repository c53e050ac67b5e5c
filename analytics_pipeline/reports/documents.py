"""The register of documents: every revision that was published, with its headline figures.

Belongs here: the rows of ``analytics_report_documents``. Does not belong here: rendering (``monthly``), storing
bytes (``artifacts``), mailing (``mail``).

A mail needs no rendering: what it says stands here, as it is printed in the very document.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from psycopg.types.json import Jsonb

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Window

MONTHLY_REPORT = "monthly_report"
REPORTS = (MONTHLY_REPORT,)


@dataclass(frozen=True, slots=True)
class Figure:
    """A headline figure as it is printed: its name, its value, its change (empty: none is shown)."""

    label: str
    value: str
    change: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A published document.

    ``company_id`` None: over all companies. ``period`` is its partition, ``2025-01``, and ``period_end`` the
    first instant after it, UTC. ``name`` is its name in the store, ``uri`` where it is, ``size`` in bytes.
    """

    report: str
    company_id: str | None
    period: str
    period_end: datetime
    uri: str
    name: str
    size: int
    sha256: str
    pages: int
    figures: Sequence[Figure]
    data_through: datetime | None
    provisional: bool
    definitions_version: int


@dataclass(frozen=True, slots=True)
class RecordedDocument:
    """A document that counts, with its row; ``held_because`` says why nothing of it is mailed, None: it may be."""

    document_id: int
    document: Document
    held_because: str | None

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> "RecordedDocument":
        """Read a row of the queries ``report_mail_wanted.sql`` and ``report_document_current.sql``."""
        document_id, *fields, held_because = row
        values = dict(zip(Document.__dataclass_fields__, fields, strict=True))
        values["figures"] = tuple(Figure(**figure) for figure in values["figures"])
        return cls(document_id, Document(**values), held_because)


def record_document(connection: Connection, document: Document, *, run_id: str | None = None) -> int:
    """Record a document that was just stored and return its id; it takes the place of the one before.

    Nothing of it is mailed until the checks of its partition are known to have passed (``hold``).
    """
    parameters = {**asdict(document), "figures": Jsonb([asdict(figure) for figure in document.figures])}
    with connection.transaction():
        # Two at once take turns, or both would count.
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('analytics_report_documents', 0))")
        connection.execute(load_sql("queries/report_document_supersede.sql"), parameters)
        row = fetch_row(connection, load_sql("queries/report_document_record.sql"), {**parameters, "run_id": run_id})
    return int(row[0])


def months_of_other_definitions(connection: Connection) -> set[tuple[bool, Window]]:
    """Return the months whose documents that count follow other definitions than today's.

    Each comes with whether that is the document over all companies, else one of those of companies.
    """
    parameters = {"report": MONTHLY_REPORT, "version": DEFINITIONS_VERSION}
    rows = connection.execute(load_sql("queries/report_older_documents.sql"), parameters).fetchall()
    return {(is_of_all, Window.of_month(date.fromisoformat(f"{period}-01"))) for is_of_all, period in rows}


def withdraw_others(connection: Connection, report: str, period: str, companies: Sequence[str]) -> None:
    """Let no document of the partition count but those of the companies given, and the one over all of them."""
    parameters = {"report": report, "period": period, "companies": list(companies)}
    connection.execute(load_sql("queries/report_documents_withdraw.sql"), parameters)


def hold(
    connection: Connection, report: str, period: str, because: str | None, *, rendered_before: datetime | None = None
) -> None:
    """Keep all documents of a partition from being mailed, or with None let them go; again changes nothing.

    Only those are let go that were made before ``rendered_before``, when the partition was judged (None: all).
    """
    connection.execute(
        "UPDATE analytics_report_documents SET held_because = %(because)s "
        "WHERE report = %(report)s AND period = %(period)s AND is_current "
        "AND held_because IS DISTINCT FROM %(because)s "
        "AND (%(because)s::text IS NOT NULL OR %(before)s::timestamptz IS NULL OR rendered_at < %(before)s)",
        {"report": report, "period": period, "because": because, "before": rendered_before},
    )


def current_document(connection: Connection, report: str, company_id: str | None, period: str) -> RecordedDocument:
    """Return the document that counts; raises ``AnalyticsError`` when there is none."""
    row = connection.execute(
        load_sql("queries/report_document_current.sql"),
        {"report": report, "company_id": company_id, "period": period},
    ).fetchone()
    if row is None:
        of = "all companies" if company_id is None else f"the company {company_id!r}"
        raise AnalyticsError(
            f"There is no {report} of {period} for {of}: close that month first, see 'analytics-pipeline close'."
        )
    return RecordedDocument.of_row(row)
