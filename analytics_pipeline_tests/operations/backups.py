"""Backups for tests that need no database: files of some bytes, with a manifest."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analytics_pipeline.operations.manifest import Kind, Manifest
from analytics_pipeline.operations.places import Backup, new_backup


def a_manifest(**fields: Any) -> Manifest:
    """Return a manifest; what a test doesn't name is of no account."""
    values: dict[str, Any] = {
        "name": "backup-20250131T023000Z",
        "kind": Kind.SERVER,
        "started_at": "2025-01-31T02:30:00+00:00",
        "finished_at": "2025-01-31T02:31:00+00:00",
        "program": "0.1.0",
        "timescaledb": "2.29.2",
        "schema": 1,
        "currency": "EUR",
        "files": (),
    }
    return Manifest(**{**values, **fields})


def write_backup(root: Path, begun_at: datetime, prefix: str = "backup", *, finished: bool = True) -> Backup:
    """Write a backup that holds one file."""
    backup = new_backup(str(root), prefix, begun_at.astimezone(UTC))
    with backup.write("database.dump") as file:
        file.write(b"dump" * 100)
    if finished:
        backup.finish(a_manifest(name=backup.name, files=(file.entry("database.dump"),)))
    return backup
