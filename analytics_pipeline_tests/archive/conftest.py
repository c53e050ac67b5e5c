"""A database whose oldest events have expired, and the place of an archive."""

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from analytics_pipeline.archive.archiving import ArchiveRun, archive_and_drop
from analytics_pipeline.archive.delta_table import Archive, open_archive
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.timescale.policies import change_policies
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.timescale.waiting import WatchedConnection
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import at

# Chunks of a week begin on Thursdays: one of them reaches from January into February.
JANUARY_CHUNK = Window(at("2023-01-12"), at("2023-01-19"))
STRADDLING_CHUNK = Window(at("2023-01-26"), at("2023-02-02"))
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Archived:
    """A database with an archive, and what tests do to the two."""

    connection: WatchedConnection
    environment: pytest.MonkeyPatch

    @property
    def settings(self) -> Settings:
        return get_settings()

    def run(self) -> ArchiveRun:
        return archive_and_drop(self.connection, self.settings)

    def archive(self) -> Archive:
        return open_archive(self.settings)

    def archived(self) -> Rows:
        """Return the rows of the archive, sorted, each as the texts that the database prints of an event."""
        batches = list(self.archive().batches())
        return sorted(tuple(map(_printed, row.values())) for batch in batches for row in batch.to_pylist())

    def stored(self, window: Window | None = None) -> Rows:
        """Return the events of the database, sorted, in the same form."""
        bounds = [window.start, window.end] if window else [at("2000-01-01"), at("2100-01-01")]
        found = self.connection.execute(
            'SELECT event_id::text, "timestamp", ingested_at, company_id, user_id, event_type, category, value::text, '
            'currency, metadata::text FROM analytics_events WHERE "timestamp" >= %s AND "timestamp" < %s',
            bounds,
        )
        return sorted(tuple(map(_printed, row)) for row in found)

    def chunks(self) -> list[Window]:
        rows = self.connection.execute(
            "SELECT range_start, range_end FROM timescaledb_information.chunks "
            "WHERE hypertable_name = 'analytics_events' ORDER BY 1"
        )
        return [Window(*row) for row in rows]

    def place(self, where: str | None) -> None:
        """Point the setting at another place, or nowhere."""
        self.environment.setenv("ANALYTICS_ARCHIVE", where or "")
        get_settings.cache_clear()


@pytest.fixture
def expired(database: Database, environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Archived]:
    """Events of two weeks that have expired, one of them compressed, and of one that has not; nothing was run."""
    environment.setenv("ANALYTICS_ARCHIVE", str(tmp_path / "archive"))
    get_settings.cache_clear()
    with database.connect(autocommit=True) as connection:
        change_policies(connection, server_info(connection), {"retention": "2 years"})
        for number, when in enumerate(
            ("2023-01-12T00:00", "2023-01-15T10:20", "2023-01-31T23:59:59.999999", "2023-02-01")
        ):
            add_exact_event(connection, when, number)
        # As old chunks are; the other stays as it is. The compression policy may be at the same chunk.
        with suppress(psycopg.errors.DuplicateObject):
            connection.execute(
                "SELECT compress_chunk(c) FROM show_chunks('analytics_events', older_than => %s) AS c",
                [JANUARY_CHUNK.end],
            )
        (recent,) = connection.execute("SELECT now() - interval '40 days'").fetchone() or (None,)
        assert recent is not None
        add_exact_event(connection, recent.isoformat(), 9)
        yield Archived(connection, environment)


def add_exact_event(connection: WatchedConnection, when: str, number: int, company: str = "acme") -> str:
    """Record an event whose values lose something in whatever is not exact, and return its id."""
    event_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{company} {when} {number}"))
    connection.execute(
        'INSERT INTO analytics_events (event_id, "timestamp", ingested_at, company_id, user_id, event_type, category, '
        "value, currency, metadata) VALUES (%s, %s::timestamptz, %s, %s, %s, 'payment.received', 'revenue', "
        "%s::numeric, 'EUR', %s::jsonb)",
        [
            event_id,
            when if "T" in when and "+" in when else f"{when}Z" if "T" in when else f"{when}T00:00Z",
            at("2023-03-01T12:00:00.000001") + timedelta(microseconds=number),
            company,
            None if number == 1 else "Ünï-1\x1f:|",
            f"12345678901234567890123456789012345678901234567890.{number}0000000000000000001000",
            json.dumps({"n": 1, "note": 'é\\u0001 "quoted"', "big": 0}).replace(
                '"big": 0', '"big": 1.10000000000000000000001'
            ),
        ],
    )
    return event_id


def _printed(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else "" if value is None else value
