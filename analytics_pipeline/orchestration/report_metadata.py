"""What the assets of reports show of a document."""

import base64
from collections.abc import Sequence

from dagster import MetadataValue, TableColumn, TableRecord, TableSchema

from analytics_pipeline.orchestration.metadata import MetadataMap
from analytics_pipeline.reports.artifacts import read_artifact
from analytics_pipeline.reports.monthly import MonthlyDocument
from analytics_pipeline.reports.preview import first_page
from analytics_pipeline.reports.publish import PublishedReport
from analytics_pipeline.settings import Settings

# The UI shows so many documents of a month; analytics_report_documents has them all.
_MOST_DOCUMENTS = 200
# Enough to tell one revision of a document from another.
_SHOWN_DIGITS = 16


def document_metadata(published: PublishedReport, settings: Settings) -> MetadataMap:
    """Return where a document is, its size and checksum, its headline figures, and its first page as a picture."""
    metadata: MetadataMap = {
        "dagster/uri": published.uri,
        "path": MetadataValue.path(published.path),
        "size (bytes)": published.size,
        "sha256": published.sha256,
        "headline figures": _figures(published),
    }
    if published.pages is not None:
        metadata["pages"] = published.pages
        metadata["first page"] = _picture(published, settings)
        metadata["characters the font lacks"] = ", ".join(published.altered_characters) or "none"
    if published.earlier_revision is not None:
        metadata["earlier revision"] = published.earlier_revision
    return metadata


def documents_metadata(made: Sequence[MonthlyDocument], settings: Settings) -> MetadataMap:
    """Return how many documents of companies there are, their size, a list, and the first page of the first one."""
    published = [one.published for one in made]
    altered = sorted({character for one in published for character in one.altered_characters})
    metadata: MetadataMap = {
        "documents": len(made),
        "pages": sum(one.pages or 0 for one in published),
        "size (bytes)": sum(one.size for one in published),
        "replaced documents": sum(one.earlier_revision is not None for one in published),
        "characters the font lacks": ", ".join(altered) or "none",
        "list": _list(made[:_MOST_DOCUMENTS]),
    }
    if len(made) > _MOST_DOCUMENTS:
        metadata["not in the list"] = f"{len(made) - _MOST_DOCUMENTS} documents: see analytics_report_documents"
    if made:
        metadata["first page"] = _picture(published[0], settings)
    return metadata


def _list(made: Sequence[MonthlyDocument]) -> MetadataValue:
    records = [
        TableRecord(
            {
                "company": one.document.company_id or "",
                "pages": one.document.pages,
                "bytes": one.published.size,
                "sha256": one.published.sha256[:_SHOWN_DIGITS],
                "uri": one.published.uri,
            }
        )
        for one in made
    ]
    # The longest comes last: what stands behind it is off the screen.
    columns = [TableColumn("company"), TableColumn("pages", "int"), TableColumn("bytes", "int")]
    return MetadataValue.table(records, TableSchema([*columns, TableColumn("sha256"), TableColumn("uri")]))


def _figures(published: PublishedReport) -> MetadataValue:
    columns = ("figure", "value", "change")
    return MetadataValue.table(
        [
            TableRecord(dict(zip(columns, (figure.label, figure.value, figure.change), strict=True)))
            for figure in published.figures
        ],
        TableSchema([TableColumn(name) for name in columns]),
    )


def _picture(published: PublishedReport, settings: Settings) -> MetadataValue:
    """Return the first page inside the text: the UI shows no file of the store by itself."""
    pdf = read_artifact(settings.artifacts_root, published.name or "", published.sha256)
    picture = base64.b64encode(first_page(pdf)).decode("ascii")
    return MetadataValue.md(f"![The first page](data:image/png;base64,{picture})")
