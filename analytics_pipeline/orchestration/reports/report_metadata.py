"""What the assets of reports show of a document."""

import base64
import re
from collections.abc import Sequence

from dagster import MetadataValue, TableColumn, TableRecord, TableSchema

from analytics_pipeline.messages.mailed import ChangedFigure, OutdatedMail, describe_relation
from analytics_pipeline.orchestration.metadata import MetadataMap, plotted
from analytics_pipeline.reports.document_links import document_address, preview_address
from analytics_pipeline.reports.monthly import MonthlyDocument
from analytics_pipeline.reports.preview import first_page
from analytics_pipeline.reports.publish import PublishedReport
from analytics_pipeline.reports.script_fonts import describe_altered
from analytics_pipeline.settings import Settings
from analytics_pipeline.store import read_artifact
from analytics_pipeline.text import printable_line
from analytics_pipeline.timescale.connection import Connection

# The UI shows so many documents of a month; analytics_report_documents has them all.
_MAX_DOCUMENTS = 200
# So many figures of a document that corrects another; analytics_report_documents.corrections has them all.
_MAX_CORRECTIONS = 500
# What means something in Markdown; each can be escaped.
_MARKS = re.compile(r"[!-/:-@\[-`{-~]")
# Enough to tell one revision of a document from another.
_MAX_SHOWN_DIGITS = 16


def monthly_document_metadata(
    connection: Connection, made: MonthlyDocument, outdated: Sequence[OutdatedMail], settings: Settings
) -> MetadataMap:
    """Return what ``document_metadata`` does, what the document corrects, and who was mailed another one."""
    metadata = document_metadata(connection, made.published, settings)
    document = made.document
    metadata["definitions version"] = str(document.definitions_version)
    metadata["said of the data"] = " ".join(document.cautions) or "nothing is wrong with them"
    metadata["corrected figures"] = len(document.corrections)
    if document.corrections:
        metadata["corrections"] = _corrections(document.corrections)
    return metadata | _mailed(outdated)


def document_metadata(connection: Connection, published: PublishedReport, settings: Settings) -> MetadataMap:
    """Return an address that opens a document, where it is, its size, checksum, headline figures and first page.

    Headline figures are there as numbers, which the UI plots, and as they are printed.
    """
    # The UI shows them in this order: what somebody comes for is first.
    metadata: MetadataMap = {
        "open": MetadataValue.url(_address(connection, published, settings)),
        **plotted(published.numbers),
        "dagster/uri": published.uri,
        "path": MetadataValue.path(published.path),
        "size (bytes)": published.size,
        "sha256": published.sha256,
        "headline figures": _figures(published),
    }
    if published.pages is not None:
        metadata["pages"] = published.pages
        metadata["preview"] = _preview(connection, published, settings)
        metadata["first page"] = _picture(published, settings)
        metadata["characters the font lacks"] = describe_altered(published.altered_characters) or "none"
    if published.earlier_revision is not None:
        metadata["earlier revision"] = published.earlier_revision
    return metadata


def documents_metadata(
    connection: Connection, made: Sequence[MonthlyDocument], outdated: Sequence[OutdatedMail], settings: Settings
) -> MetadataMap:
    """Return how many documents of companies there are, their size, a list, and the first page of the first one.

    And how many of them correct an earlier one, and to whom others were mailed.
    """
    published = [one.published for one in made]
    altered = sorted({character for one in published for character in one.altered_characters})
    metadata: MetadataMap = {
        "documents": len(made),
        "pages": sum(one.pages or 0 for one in published),
        "size (bytes)": sum(one.size for one in published),
        "replaced documents": sum(one.earlier_revision is not None for one in published),
        "corrected documents": sum(bool(one.document.corrections) for one in made),
        "characters the font lacks": describe_altered(altered) or "none",
        **_lists(connection, made[:_MAX_DOCUMENTS], settings),
    }
    if len(made) > _MAX_DOCUMENTS:
        metadata["not in the list"] = f"{len(made) - _MAX_DOCUMENTS} documents: see analytics_report_documents"
    if made:
        metadata["preview"] = _preview(connection, published[0], settings)
        metadata["first page"] = _picture(published[0], settings)
    return metadata | _mailed(outdated)


def _mailed(outdated: Sequence[OutdatedMail]) -> MetadataMap:
    """Return which documents that were mailed no longer equal the current ones."""
    metadata: MetadataMap = {"recipients of another document": sum(len(mail.addresses) for mail in outdated)}
    if outdated:
        records = [
            TableRecord(
                {
                    "company": mail.company_id or "",
                    "recipients": len(mail.addresses),
                    "mailed document": describe_relation(
                        mail.relation, mail.mailed_definitions, mail.current_definitions, mail.changes
                    ),
                }
            )
            for mail in outdated[:_MAX_DOCUMENTS]
        ]
        metadata["mailed documents"] = MetadataValue.table(records)
    return metadata


def _corrections(changes: Sequence[ChangedFigure]) -> MetadataValue:
    columns = ("figure", "before", "after", "difference")
    records = [
        TableRecord(
            dict(
                zip(
                    columns,
                    (change.label, change.before or "", change.after or "", change.difference or ""),
                    strict=True,
                )
            )
        )
        for change in changes[:_MAX_CORRECTIONS]
    ]
    return MetadataValue.table(records, TableSchema([TableColumn(name) for name in columns]))


def _address(connection: Connection, published: PublishedReport, settings: Settings) -> str:
    return document_address(connection, settings, published.name or "", published.sha256)


def _lists(connection: Connection, made: Sequence[MonthlyDocument], settings: Settings) -> MetadataMap:
    """Return the documents as links, which a table of the UI has none of, and as a table."""
    addresses = [_address(connection, one.published, settings) for one in made]
    links = [
        f"- [{_MARKS.sub(_escaped, printable_line(one.company))}]({address})"
        for one, address in zip(made, addresses, strict=True)
    ]
    records = [
        TableRecord(
            {
                "open": address,
                "company": one.document.company_id or "",
                "name": one.company,
                "pages": one.document.pages,
                "bytes": one.published.size,
                "corrected figures": len(one.document.corrections),
                "sha256": one.published.sha256[:_MAX_SHOWN_DIGITS],
                "uri": one.published.uri,
            }
        )
        for one, address in zip(made, addresses, strict=True)
    ]
    # What stands behind a long column is off the screen: the address comes first, where the document is last.
    counts = [TableColumn(name, "int") for name in ("pages", "bytes", "corrected figures")]
    texts = [TableColumn(name) for name in ("open", "company", "name", "sha256", "uri")]
    table = MetadataValue.table(records, TableSchema([*texts[:3], *counts, *texts[3:]]))
    return {"open": MetadataValue.md("\n".join(links)), "list": table}


def _escaped(mark: re.Match[str]) -> str:
    return f"\\{mark[0]}"


def _figures(published: PublishedReport) -> MetadataValue:
    columns = ("figure", "value", "change")
    return MetadataValue.table(
        [
            TableRecord(dict(zip(columns, (figure.label, figure.value, figure.change), strict=True)))
            for figure in published.figures
        ],
        TableSchema([TableColumn(name) for name in columns]),
    )


def _preview(connection: Connection, published: PublishedReport, settings: Settings) -> MetadataValue:
    """Return the first page by its address: the UI shows a text of less than 1,000 characters without unfolding it."""
    address = preview_address(connection, settings, published.name or "", published.sha256)
    return MetadataValue.md(f"![The first page, while the API runs]({address})")


def _picture(published: PublishedReport, settings: Settings) -> MetadataValue:
    """Return the first page inside the text: it is there as long as the text, whatever runs."""
    pdf = read_artifact(settings.artifacts_root, published.name or "", published.sha256)
    picture = base64.b64encode(first_page(pdf)).decode("ascii")
    return MetadataValue.md(f"![The first page](data:image/png;base64,{picture})")
