"""Finding PostgreSQL's programs of the version of a server."""

from pathlib import Path

import pytest

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.operations.client_programs import find_program


def a_program(folder: Path, major: int) -> Path:
    """Write what says that it is pg_dump of a version."""
    folder.mkdir()
    program = folder / "pg_dump"
    program.write_text(f'#!/bin/sh\necho "pg_dump (PostgreSQL) {major}.1 (Debian {major}.1-1)"\n')
    program.chmod(0o755)
    return program


def test_a_program_is_the_one_of_the_servers_version_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_the_database, on_path = a_program(tmp_path / "named", 91), a_program(tmp_path / "path", 92)
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_program("pg_dump", 91, str(of_the_database.parent)) == of_the_database
    assert find_program("pg_dump", 92, str(of_the_database.parent)) == on_path
    # What the embedded storage of Dagster needs is always there.
    assert find_program("pg_dump", 18, "").name == "pg_dump"


def test_a_missing_program_is_named_with_those_of_other_versions_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = a_program(tmp_path / "path", 91)
    monkeypatch.setenv("PATH", str(other.parent))
    said = rf"pg_dump of PostgreSQL 90 is missing \({other} is of 91.*install.*postgresql-client-90.*ANALYTICS_PG_BIN"
    with pytest.raises(AnalyticsError, match=said):
        find_program("pg_dump", 90, str(tmp_path / "nothing"))
