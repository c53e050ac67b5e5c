"""Dagster's own storage: tags, run configuration, metadata of events, cursors, wherever it keeps text."""

from collections import Counter
from collections.abc import Iterator, Mapping

from psycopg import sql

from analytics_pipeline.erasure.subject import Subject
from analytics_pipeline.operations.backup import connect_to_server, dagster_storage_url
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection


class DagsterRows:
    """Every column of text that the catalog of the storage lists; definitions, which it keeps packed, hold no ids."""

    def __init__(self, settings: Settings) -> None:
        """The storage is that of the settings; where there is none there is nothing to do."""
        self._settings = settings

    def count(self, subject: Subject) -> Mapping[str, int]:
        """Count the rows that name it, by table."""
        counts: Counter[str] = Counter()
        for storage in self._storages():
            for table, columns in _tables(storage).items():
                counts[f"Dagster's {table}"] += sum(1 for _ in _changes(storage, table, columns, subject))
        return counts

    def erase(self, subject: Subject) -> None:
        """Put the pseudonym in the place of the ids, a row after the other."""
        for storage in self._storages():
            for table, columns in _tables(storage).items():
                for place, changed in list(_changes(storage, table, columns, subject)):
                    sets = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in changed)
                    update = sql.SQL("UPDATE {} SET {} WHERE ctid = %s::tid").format(sql.Identifier(table), sets)
                    storage.execute(update, [*changed.values(), place])

    def search(self, subject: Subject) -> Iterator[str]:
        """Look through all of them."""
        for storage in self._storages():
            for table, columns in _tables(storage).items():
                left: Counter[str] = Counter()
                for _, changed in _changes(storage, table, columns, subject):
                    left.update(changed.keys())
                for column, number in left.items():
                    yield f"Dagster's {table}.{column}: {number:,} rows"

    def suspect(self, subject: Subject) -> Iterator[str]:
        """Look through all of them."""
        for storage in self._storages() if subject.in_texts else ():
            for table, columns in _tables(storage).items():
                found: Counter[str] = Counter()
                for _, row in _naming(storage, table, columns, subject):
                    found.update(column for column, text in row.items() if subject.suspects(text))
                for column, number in found.items():
                    yield f"Dagster's {table}.{column}: {number:,} rows"

    def _storages(self) -> Iterator[Connection]:
        url = dagster_storage_url(self._settings)
        if url is None:
            return
        with connect_to_server(url, "DAGSTER_POSTGRES_URL") as storage:
            yield storage


def _tables(storage: Connection) -> Mapping[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for table, column, kind, _ in storage.execute(load_query("erasure_columns")).fetchall():
        if kind == "text":
            tables.setdefault(table, []).append(column)
    return tables


def _changes(
    storage: Connection, table: str, columns: list[str], subject: Subject
) -> Iterator[tuple[str, dict[str, str]]]:
    for place, before in _naming(storage, table, columns, subject):
        now = {name: subject.text(value) for name, value in before.items()}
        changed = {name: value for name, value in now.items() if value != before[name]}
        if changed:
            yield place, changed


def _naming(
    storage: Connection, table: str, columns: list[str], subject: Subject
) -> Iterator[tuple[str, dict[str, str]]]:
    names = [sql.Identifier(column) for column in columns]
    query = sql.SQL("SELECT ctid::text, {} FROM {} WHERE lower(concat_ws(' ', {})) LIKE ANY (%s)").format(
        sql.SQL(", ").join(names), sql.Identifier(table), sql.SQL(", ").join(names)
    )
    with storage.transaction(), storage.cursor(name="naming") as cursor:
        for place, *values in cursor.execute(query, [subject.patterns]):
            yield place, {name: value for name, value in zip(columns, values, strict=True) if value is not None}
