"""What Dagster's own storage holds: measured there, and kept in our database for whoever watches it grow."""

from analytics_pipeline.operations.backup import connect_to_server, dagster_storage_url
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection


def measure_dagster_storage(connection: Connection, settings: Settings) -> bool:
    """Keep the rows (estimated) and bytes that each table of Dagster's storage has now; whether there is a storage.

    Raises ``AnalyticsError`` when the storage can't be reached.
    """
    url = dagster_storage_url(settings)
    if url is None:
        return False
    with connect_to_server(url, "DAGSTER_POSTGRES_URL") as storage:
        found = storage.execute(load_query("dagster_storage_tables")).fetchall()
    tables, rows, sizes = map(list, zip(*found, strict=True)) if found else ([], [], [])
    connection.execute(load_query("dagster_storage_keep"), {"tables": tables, "rows": rows, "bytes": sizes})
    return True
