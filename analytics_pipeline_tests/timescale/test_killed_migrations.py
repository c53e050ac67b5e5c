"""A migration that is killed after any of its statements is completed by the next: the schema is the same.

The usual run kills after a sample of the statements, ``make test-faults`` after every one.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from analytics_pipeline import sql_files
from analytics_pipeline.database import connect, migrate
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.policies import settle_policies
from analytics_pipeline.timescale.waiting import WatchedConnection
from analytics_pipeline_tests.conftest import SERVER_URL, migrated_database, set_environment
from analytics_pipeline_tests.timescale.schema_listing import schema_of
from analytics_pipeline_tests.timescale.sql_statements import split_statements
from analytics_pipeline_tests.timescale.test_migrations import copy_sql

pytestmark = pytest.mark.slow

SAMPLED = 12
# What the files after the migrations are, in the order in which they are applied.
PARTS = ("functions/", "currency_digits", "views", "operations", "access", "row_security", "api")
# The embedded server has one session, which is also the engine: there a statement fails in place of it.
KILL = "SELECT pg_terminate_backend(pg_backend_pid());" if SERVER_URL else "DO $$ BEGIN RAISE SQLSTATE '57P01'; END $$;"


@pytest.fixture
def as_undisturbed(embedded_home: Path, tmp_path: Path) -> list[str]:
    """The schema of a database that was migrated without a fault."""
    with migrated_database(embedded_home, tmp_path) as database, database.connect(autocommit=True) as connection:
        return schema_of(connection)


@pytest.fixture
def files(
    as_undisturbed: list[str],
    empty_database_url: str,
    embedded_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[list[Path]]:
    """An empty database, and the files that migrate it, in order; they may be changed."""
    set_environment(monkeypatch, empty_database_url, embedded_home, tmp_path)
    root = copy_sql(tmp_path, monkeypatch)
    parts = [path for part in PARTS for path in sorted(root.glob(f"{part}*.sql") or root.glob(f"{part}/*.sql"))]
    yield [*sorted((root / "migrations").glob("*.sql")), *parts]
    sql_files.load_sql.cache_clear()
    get_settings.cache_clear()


def test_a_migration_killed_after_some_statements_is_completed_by_the_next(
    files: list[Path], as_undisturbed: list[str]
) -> None:
    chance = random.Random(11)  # noqa: S311
    chosen = sorted(chance.sample(range(len(files)), SAMPLED))
    for file in (files[number] for number in chosen):
        _kill_after(file, chance.randrange(len(split_statements(file.read_text()))))
    assert _kills_in_policies([chance.randrange(10, 20)]) == 1
    _complete(as_undisturbed)


@pytest.mark.faults
@pytest.mark.endurance
def test_a_migration_killed_after_every_statement_is_completed_by_the_next(
    files: list[Path], as_undisturbed: list[str]
) -> None:
    kills = 0
    for file in files:
        for number in range(len(split_statements(file.read_text()))):
            _kill_after(file, number)
            kills += 1
    kills += _kills_in_policies(range(1, 1_000))
    _complete(as_undisturbed)
    print(f"\n{kills} kills in {len(files)} files")  # noqa: T201 - for the record, with -s
    assert kills > 300


def test_statements_are_told_apart_by_what_ends_them() -> None:
    text = "SELECT ';'; -- a; b\nDO $x$ BEGIN; $$;$$ END $x$;\n/* ; */ SELECT \";\", E'\\';' ;\n-- the end;\n"
    statements = split_statements(text)
    assert "".join(statements) == text
    assert [statement.strip().partition("\n")[0][:12] for statement in statements] == [
        "SELECT ';';",
        "-- a; b",
        "/* ; */ SELE",
    ]


def _kill_after(file: Path, number: int) -> None:
    """Migrate, and be killed after a statement of a file; the file is left as it was."""
    text = file.read_text()
    statements = split_statements(text)
    statements.insert(number + 1, f"\n{KILL}\n")
    file.write_text("".join(statements))
    sql_files.load_sql.cache_clear()
    with pytest.raises(psycopg.OperationalError):
        migrate()
    file.write_text(text)
    sql_files.load_sql.cache_clear()


def _kills_in_policies(numbers: "list[int] | range") -> int:
    """Migrate again and again, and be killed after so many statements of the settling of policies; return how often."""
    for kills, number in enumerate(numbers):
        with _killed_in_policies(number) as was_killed:
            with suppress(psycopg.OperationalError):
                migrate()
            if not was_killed():
                return kills
    return len(numbers)


@contextmanager
def _killed_in_policies(after: int) -> Iterator[Callable[[], bool]]:
    left: list[int] = []
    execute = WatchedConnection.execute

    def settling(*arguments: Any) -> Any:
        left.append(after)
        return settle_policies(*arguments)

    def counting(connection: WatchedConnection, *arguments: Any, **named: Any) -> Any:
        result = execute(connection, *arguments, **named)
        if left:
            left[0] -= 1
            if left[0] == 0:
                execute(connection, KILL.encode())
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analytics_pipeline.timescale.migrations.settle_policies", settling)
        patch.setattr(WatchedConnection, "execute", counting)
        yield lambda: bool(left) and left[0] <= 0


def _complete(as_undisturbed: list[str]) -> None:
    migrate()
    with connect(autocommit=True) as connection:
        assert sorted(set(schema_of(connection)) ^ set(as_undisturbed)) == []
    report = migrate()
    assert (report.applied, report.renewed, report.policy_changes) == ((), (), ())
