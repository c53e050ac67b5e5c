"""Documents in the store that name whom is erased: made again from the register where they count, else removed."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg.rows import class_row

from analytics_pipeline.erasure.file_texts import texts_of
from analytics_pipeline.erasure.kept_files import opened_store
from analytics_pipeline.erasure.subject import Subject, any_names
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.store import STORE_ERRORS, Store, reason_of, revision_name, safe_part
from analytics_pipeline.timescale.connection import Connection

_NAME = "documents"
_REMADE = (
    "erasure_remade_document",
    "erasure_remade_file",
    "erasure_remade_message",
    "erasure_remade_signoff",
    "erasure_remade_keys",
)


@dataclass(frozen=True, slots=True)
class _Registered:
    """A document of the register."""

    document_id: int
    company_id: str | None
    period: str
    period_end: datetime
    name: str
    sha256: str
    definitions_version: int
    data_through: datetime | None
    shown_figures: Mapping[str, Any]
    cautions: list[str] | None
    is_current: bool
    is_signed: bool


class KeptDocuments:
    """The store of documents: monthly ones with their earlier revisions, and those that were asked for."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        """Take an autocommit connection; the store is that of the settings."""
        self._connection = connection
        self._root = settings.artifacts_root

    def count(self, subject: Subject) -> Mapping[str, int]:
        """Count the files that name it."""
        return {_NAME: sum(1 for _ in self._naming(subject))}

    def erase(self, subject: Subject) -> None:
        """Make those again that count or were signed, and remove all others.

        After the tables, so that the register holds no id any more.
        """
        store = opened_store(self._root)
        for name in list(self._naming(subject)):
            content = store.read(name)
            if content is None:
                continue
            found = self._registered(name, content)
            if found is None:
                self._complete(store, name)
            elif found.is_current or found.is_signed:
                self._make_again(store, name, found)
            else:
                store.remove(name)
                self._connection.execute(load_query("erasure_document_gone"), {"document_id": found.document_id})

    def search(self, subject: Subject) -> Iterator[str]:
        """Look through all of them."""
        for name in self._naming(subject):
            yield f"{_NAME}: {name}"

    def suspect(self, subject: Subject) -> Iterator[str]:
        """Look through all of them."""
        for name in self._naming(subject, suspected=True) if subject.in_texts else ():
            yield f"{_NAME}: {name}"

    def _make_again(self, store: Store, name: str, found: _Registered) -> None:
        """Store the new document beside the old one, have the register know it, and put it in the old one's place.

        Killed between any two of these, the next time goes on: the old file is found as long as it is there.
        """
        from analytics_pipeline.reports.remade import render_remade

        pdf = render_remade(_shown(found))
        sha256 = hashlib.sha256(pdf.content).hexdigest()
        store.write(revision_name(found.name, sha256), pdf.content)
        values = {
            "document_id": found.document_id, "sha256": sha256, "size": len(pdf.content), "pages": pdf.pages,
            "before": found.sha256,
        }  # fmt: skip
        with self._connection.transaction():
            self._connection.execute("SET CONSTRAINTS ALL DEFERRED")
            for query in _REMADE:
                self._connection.execute(load_query(query), values)
        self._complete(store, name)

    def _complete(self, store: Store, name: str) -> None:
        """Put the document that counts in place of a file that no document of the register is, or remove the file."""
        row = self._connection.execute(load_query("erasure_document_named"), {"name": name}).fetchone()
        content = None if row is None else store.read(revision_name(name, row[0]))
        if row is None or content is None:
            store.remove(name)
            # A workbook is made again once a recipient is to get one.
            with self._connection.transaction():
                self._connection.execute("SET CONSTRAINTS ALL DEFERRED")
                self._connection.execute(load_query("erasure_file_gone"), {"name": name})
                self._connection.execute(load_query("erasure_keys_gone"), {"name": name})
            return
        store.write(name, content)
        store.remove(revision_name(name, row[0]))

    def _registered(self, name: str, content: bytes) -> _Registered | None:
        values = {"sha256": hashlib.sha256(content).hexdigest()}
        with self._connection.cursor(row_factory=class_row(_Registered)) as cursor:
            rows = cursor.execute(load_query("erasure_document"), values).fetchall()
        return next((row for row in rows if name in (row.name, revision_name(row.name, row.sha256))), None)

    def _naming(self, subject: Subject, *, suspected: bool = False) -> Iterator[str]:
        """Yield the documents that name it, or those that may, within a longer word."""
        if not subject.in_texts and not subject.is_company:
            # Among words and numbers it can't be told.
            return
        store = opened_store(self._root)
        company = safe_part(subject.company_id)
        try:
            for name in store.names_below():
                whose = _company_of(name)
                if subject.is_company and whose == company and not suspected:
                    yield name
                # A user of another company is another person.
                if whose is not None and (subject.is_company or whose != company):
                    continue
                content = store.read(name)
                if content is None:
                    continue
                texts = texts_of(name, content)
                if any(map(subject.suspects, texts)) if suspected else any_names(subject, texts):
                    yield name
        except STORE_ERRORS as error:
            raise AnalyticsError(
                f"Can't read {store.location}: {reason_of(error)}. Check ANALYTICS_ARTIFACTS and the permissions there."
            ) from error


def _company_of(name: str) -> str | None:
    """Return whose a document is by its name in the store, None for one over all companies."""
    _, _, behind = f"/{name}".partition("/companies/")
    folder, slash, _ = behind.partition("/")
    if slash or not folder:
        return folder or None
    if folder.startswith("."):
        # The draft of a writer that was killed.
        folder = folder[1:].rsplit(".", 2)[0]
    return folder.rpartition(".")[0].partition("~rev-")[0]


def _shown(found: _Registered) -> Any:
    from analytics_pipeline.reports.remade import ShownDocument

    formats = Formats()
    signed = "It was signed off, and its figures are the signed ones. " if found.is_signed else ""
    mark = (
        "Made again: the document of this period held data of a person or company that were erased. "
        f"{signed}The figures are those that it showed."
    )
    return ShownDocument(
        company="All companies" if found.company_id is None else found.company_id,
        period=formats.month(date.fromisoformat(f"{found.period}-01")),
        figures=[
            (str(figure.get("label", "")), str(figure["value"]) if figure.get("value") is not None else "\u2013")
            for figure in found.shown_figures["figures"]
        ],
        marks=[mark, *(found.cautions or ())],
        dated=found.data_through or found.period_end,
        definitions_version=found.definitions_version,
    )
