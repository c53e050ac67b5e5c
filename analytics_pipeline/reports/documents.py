"""The register of documents: every revision that was published, with its figures and what it corrects.

A mail needs no rendering: what it says stands here, as it is printed in the very document.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from psycopg.types.json import Jsonb

from analytics_pipeline.asset_names import MONTHLY_REPORT
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.locales import DEFAULT_LOCALE
from analytics_pipeline.messages.mailed import ChangedFigure, changed_figures_of
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Window


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
    ``figures`` are the headline figures, ``cautions`` what page one says of its data, ``corrections`` the figures that
    differ from an earlier document under the same definitions. All of it is in the language and notation of ``locale``.
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
    cautions: Sequence[str] = ()
    corrections: Sequence[ChangedFigure] = ()
    locale: str = DEFAULT_LOCALE


@dataclass(frozen=True, slots=True)
class DocumentFile:
    """A file of a document in the store: where it is, its name there, its size in bytes, its checksum."""

    uri: str
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class RecordedDocument:
    """A document that counts, with its row.

    ``held_because`` says why nothing of it is mailed, None: it may be. ``judged_at`` is when its data were found to be
    the reason, None: they are not.
    """

    document_id: int
    document: Document
    held_because: str | None
    judged_at: datetime | None

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> "RecordedDocument":
        """Read a row of the queries ``report_mail_wanted.sql`` and ``report_document_current.sql``."""
        document_id, *fields, held_because, judged_at = row
        values = dict(zip(Document.__dataclass_fields__, fields, strict=True))
        values["figures"] = tuple(Figure(**figure) for figure in values["figures"])
        values["cautions"] = tuple(values["cautions"] or ())
        values["corrections"] = changed_figures_of(values["corrections"])
        return cls(document_id, Document(**values), held_because, judged_at)


def record_document(
    connection: Connection, document: Document, shown: Mapping[str, Any], *, run_id: str | None = None
) -> int:
    """Record a document that was just stored and return its id; it takes the place of the one before.

    ``shown`` are all its figures (``ShownFigures.as_json``). Nothing of it is mailed until its month is known to be
    judged well (``hold``).
    """
    parameters = {
        **asdict(document),
        "figures": Jsonb([asdict(figure) for figure in document.figures]),
        "cautions": Jsonb(list(document.cautions)),
        "corrections": Jsonb([asdict(change) for change in document.corrections]),
        "shown_figures": Jsonb(shown),
    }
    with connection.transaction():
        # Two at once take turns, or both would count.
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('analytics_report_documents', 0))")
        connection.execute(load_query("report_document_supersede"), parameters)
        row = fetch_row(connection, load_query("report_document_record"), {**parameters, "run_id": run_id})
    return int(row[0])


def document_files(connection: Connection, document_id: int) -> tuple[dict[str, DocumentFile], bool]:
    """Return the files there are of a document by their format, and whether a recipient lacks its workbook."""
    parameters = {"document_id": document_id}
    files, lacks_workbook = fetch_row(connection, load_query("report_files"), parameters)
    return {form: DocumentFile(**file) for form, file in files.items()}, lacks_workbook


def record_file(connection: Connection, document_id: int, form: str, file: DocumentFile) -> None:
    """Record a file of a document that was just stored; one of this format that there is stays."""
    parameters = {"document_id": document_id, "format": form, **asdict(file)}
    connection.execute(load_query("report_file_record"), parameters)


def corrected_figures(
    connection: Connection,
    report: str,
    company_id: str | None,
    period: str,
    definitions_version: int,
    shown: Mapping[str, Any],
) -> tuple[ChangedFigure, ...]:
    """Return the figures in which a document that shows these corrects an earlier one, the most important first.

    That is the newest earlier document of the same definitions whose figures differ, so that the same data correct the
    same: empty if there is none.
    """
    parameters = {
        "report": report,
        "company_id": company_id,
        "period": period,
        "version": definitions_version,
        "shown": Jsonb(shown),
    }
    row = connection.execute(load_query("report_document_corrections"), parameters).fetchone()
    return () if row is None else changed_figures_of(row[0])


def changes_since(
    connection: Connection, report: str, company_id: str | None, period: str, shown: Mapping[str, Any]
) -> tuple[tuple[ChangedFigure, ...], Sequence[str] | None, str]:
    """Return in which figures these differ from the document that counts, and what page one of it says of its data.

    The last is its locale. None and no figure where it follows other definitions than today's or was made by an earlier
    release.
    """
    parameters = {
        "report": report,
        "company_id": company_id,
        "period": period,
        "version": DEFINITIONS_VERSION,
        "shown": Jsonb(shown),
    }
    row = connection.execute(load_query("report_document_changes"), parameters).fetchone()
    return ((), None, DEFAULT_LOCALE) if row is None else (changed_figures_of(row[0]), row[1], row[2])


def months_of_other_definitions(connection: Connection) -> set[tuple[bool, Window]]:
    """Return the months whose documents that count follow other definitions than today's.

    Each comes with whether that is the document over all companies, else one of those of companies.
    """
    parameters = {"report": MONTHLY_REPORT, "version": DEFINITIONS_VERSION}
    rows = connection.execute(load_query("report_older_documents"), parameters).fetchall()
    return {(is_of_all, Window.of_month(date.fromisoformat(f"{period}-01"))) for is_of_all, period in rows}


def withdraw_others(connection: Connection, report: str, period: str, companies: Sequence[str]) -> None:
    """Let no document of the partition count but those of the companies given, and the one over all of them."""
    parameters = {"report": report, "period": period, "companies": list(companies)}
    connection.execute(load_query("report_documents_withdraw"), parameters)


def hold(
    connection: Connection,
    report: str,
    period: str,
    because: str | None,
    *,
    companies: Collection[str | None] | None = None,
    rendered_before: datetime | None = None,
    by_data: bool = False,
) -> None:
    """Keep documents of a partition from being mailed, or with None let them go; again changes nothing.

    Those of the companies given (None among them: the one over all of them), without any all. Only those are let go
    that were made before ``rendered_before``, when they were judged (None: all). ``by_data``: it is their data that
    hold them back.
    """
    connection.execute(
        load_query("report_documents_hold"),
        {
            "report": report,
            "period": period,
            "because": because,
            "of_all": companies is None or None in companies,
            "companies": None if companies is None else [company for company in companies if company is not None],
            "before": rendered_before,
            "by_data": by_data,
        },
    )


def current_document(connection: Connection, report: str, company_id: str | None, period: str) -> RecordedDocument:
    """Return the document that counts; raises ``AnalyticsError`` when there is none."""
    row = connection.execute(
        load_query("report_document_current"),
        {"report": report, "company_id": company_id, "period": period},
    ).fetchone()
    if row is None:
        of = "all companies" if company_id is None else f"the company {company_id!r}"
        raise AnalyticsError(
            f"There is no {report} of {period} for {of}: 'analytics-pipeline close --month {period}' makes those of a "
            "month that has ended."
        )
    return RecordedDocument.of_row(row)
