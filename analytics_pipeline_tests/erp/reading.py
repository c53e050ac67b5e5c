"""Reads sources in tests, and what came of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from analytics_pipeline.database import connect
from analytics_pipeline.erp.record_source import SourceResult, record_source
from analytics_pipeline.erp.source_files import ErpSource, choose_sources, read_sources
from analytics_pipeline.settings import get_settings


def source(name: str = "invoices", *, overlap: timedelta | None = None) -> ErpSource:
    """Return a source of the settings, with another overlap if one is given."""
    (found,) = choose_sources(read_sources(get_settings()), [name])
    return found if overlap is None else replace(found, overlap=overlap)


def read(name: str | ErpSource = "invoices", *, max_rows: int | None = None) -> SourceResult:
    """Run a source once."""
    with connect(autocommit=True) as connection:
        chosen = source(name) if isinstance(name, str) else name
        return record_source(connection, get_settings(), chosen, max_rows=max_rows)


def query(statement: str) -> list[tuple[Any, ...]]:
    """Return rows of the analytics database."""
    with connect(autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def recorded(columns: str = "metadata->>'invoice', value::text") -> list[tuple[Any, ...]]:
    """Return all events, in order of time."""
    return query(f'SELECT {columns} FROM analytics_events ORDER BY "timestamp", 1')


def rejected() -> list[tuple[Any, ...]]:
    """Return source, key and reason of the rows that are rejected now."""
    return query(
        "SELECT source, source_key, reason FROM analytics_source_rejects WHERE resolved_at IS NULL ORDER BY 1, 2"
    )
