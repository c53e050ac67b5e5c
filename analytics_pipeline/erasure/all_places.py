"""The places there are, in the order in which they are gone through."""

from analytics_pipeline.erasure.archived_events import ArchivedEvents
from analytics_pipeline.erasure.dagster_rows import DagsterRows
from analytics_pipeline.erasure.event_rows import AggregateRows, StoredEvents
from analytics_pipeline.erasure.kept_documents import KeptDocuments
from analytics_pipeline.erasure.kept_files import kept_files
from analytics_pipeline.erasure.place import Place
from analytics_pipeline.erasure.stored_rows import StoredRows
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection


def all_places(connection: Connection, settings: Settings) -> list[Place]:
    """Return them for an autocommit connection and what the settings name.

    What says which mails are a company's goes after those, and what documents are made again from before them.
    """
    return [
        StoredEvents(connection),
        AggregateRows(connection),
        ArchivedEvents(connection, settings),
        *kept_files(connection, settings),
        DagsterRows(settings),
        StoredRows(connection),
        KeptDocuments(connection, settings),
    ]
