"""Brings the one database of an embedded server back to what it was, faster than migrating it again.

Tables that were empty are emptied, other tables of ours and TimescaleDB's notes on aggregates and jobs get their rows
back, sequences their values, relations and columns the rights on them.
Everything else is compared, the whole catalog with it: a database of which a test has changed any of that can't be
restored. Nothing that a migration may bring along is listed here by name.

What is compared is asked first whether it has other rows than before, by their number and by who wrote them; only what
has is read.
"""

import re
from typing import Any

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]

# Columns of the catalog that change although nothing has: storage, statistics, and that there once was a chunk.
_VOLATILE = {
    "pg_catalog.pg_class": "relfilenode,relpages,reltuples,relallvisible,relfrozenxid,relminmxid,relhassubclass",
    "pg_catalog.pg_database": "datfrozenxid,datminmxid",
}
# The rights on what a table of the catalog lists.
_RIGHTS = {"pg_catalog.pg_class": ("relacl", ["oid"]), "pg_catalog.pg_attribute": ("attacl", ["attrelid", "attnum"])}
_RESTORE_RIGHTS = """
WITH wanted AS (
    SELECT {key}, r.{rights}
    FROM {table} LEFT JOIN json_populate_recordset(NULL::{table}, %s) AS r USING ({key})
)
UPDATE {table} AS t SET {rights} = w.{rights}
FROM wanted AS w
WHERE {same} AND t.{rights} IS DISTINCT FROM w.{rights}
"""
# Temporary tables aren't here: the server drops them with their session.
_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_(toast|temp)'
"""
_HAS_TIMESCALEDB = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"
# An aggregate's table is emptied under the aggregate's name, a compressed one with the one it belongs to.
_HYPERTABLES = """
SELECT format('%I.%I', h.schema_name, h.table_name), h.id, h.compression_state = 2,
       format('%I.%I', coalesce(a.user_view_schema, h.schema_name), coalesce(a.user_view_name, h.table_name))
FROM _timescaledb_catalog.hypertable AS h
LEFT JOIN _timescaledb_catalog.continuous_agg AS a ON a.mat_hypertable_id = h.id
"""
_SEQUENCES = """
SELECT format('%I.%I', schemaname, sequencename), last_value, start_value FROM pg_sequences
WHERE schemaname !~ '^_timescaledb'
"""
# Of TimescaleDB's own tables: what became of jobs, and what there is to be refreshed and to be run.
_OUTCOMES = "_timescaledb_internal.bgw_"
_NOTES = re.compile(r"_timescaledb_\w+\.(continuous_aggs_\w+|bgw_job)")


class Pristine:
    """What a database was like at one moment, and the way back to it."""

    def __init__(self, connection: Connection, *, since: str) -> None:
        """Record the database as it is; of rows older than the transaction ``since`` only their number."""
        self._is_young = _written_since(since)
        # The schemas of temporary tables come with the first of them, and stay.
        connection.execute("CREATE TEMPORARY TABLE first_of_them (); DROP TABLE first_of_them")
        tables = {name for (name,) in connection.execute(_TABLES)}
        # For each name that can be truncated, the query that has rows when it should be.
        self._emptied: dict[str, str] = {}
        if connection.execute(_HAS_TIMESCALEDB).fetchone() == (True,):
            for table, number, compressed, name in connection.execute(_HYPERTABLES):
                tables.remove(table)
                if not compressed:
                    self._emptied[name] = f"FROM _timescaledb_catalog.chunk WHERE hypertable_id = {number}"
        for table in sorted(tables):
            if not table.startswith(("pg_catalog.", "_timescaledb")) or table.startswith(_OUTCOMES):
                self._emptied[table] = f"FROM {table}"
        for name in self._filled(connection):
            del self._emptied[name]
        self._compared = sorted(tables - self._emptied.keys())
        self._fingerprints = self._read_fingerprints(connection, self._compared)
        self._rights = {
            table: connection.execute(
                f"SELECT coalesce(json_agg(t), '[]')::text "
                f"FROM (SELECT {', '.join(key)}, {rights} FROM {table} WHERE {rights} IS NOT NULL) AS t"
            ).fetchone()
            for table, (rights, key) in _RIGHTS.items()
        }
        self._sequences = connection.execute(_SEQUENCES).fetchall()
        self._rows = {
            table: connection.execute(f"SELECT coalesce(json_agg(t), '[]')::text FROM {table} AS t").fetchone()
            for table in self._compared
            if _NOTES.fullmatch(table) or not table.startswith(("pg_catalog.", "_timescaledb"))
        }
        current = connection.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
        assert current is not None
        self._is_new = _written_since(current[0])
        self._restored_at: object = None

    def restore(self, connection: Connection) -> bool:
        """Bring the database back to what was recorded; returns whether that was possible."""
        if self._position(connection) == self._restored_at:
            return True
        is_restored = self._restore(connection)
        self._restored_at = self._position(connection) if is_restored else None
        return is_restored

    def _position(self, connection: Connection) -> object:
        """Return where the write-ahead log ends: at the same place nothing was written meanwhile."""
        return connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()

    def _restore(self, connection: Connection) -> bool:
        filled = self._filled(connection)
        for table in filled:
            # Of tables of the extension; truncated, they would be listed by a younger row of the catalog.
            if table.startswith(_OUTCOMES):
                connection.execute(f"DELETE FROM {table}")
        if ours := [table for table in filled if not table.startswith(_OUTCOMES)]:
            # Together, or a foreign key between them is in the way; what references them was empty too. Without the
            # trigger of a table that is only ever added to.
            connection.execute("SET session_replication_role = replica")
            connection.execute(f"TRUNCATE {', '.join(ours)} CASCADE")
            connection.execute("RESET session_replication_role")
        changed = self._changed(connection)
        if changed - self._rows.keys() - self._rights.keys():
            return False
        for table in changed:
            self._restore_rows(connection, table)
        if changed and self._differing(connection, sorted(changed)):
            return False
        recorded = {name: (last, start) for name, last, start in self._sequences}
        for name, last, _ in connection.execute(_SEQUENCES).fetchall():
            if last != recorded[name][0]:
                was, start = recorded[name]
                connection.execute("SELECT setval(%s, %s, %s)", [name, start if was is None else was, was is not None])
        return True

    def _restore_rows(self, connection: Connection, table: str) -> None:
        if table in _RIGHTS:
            rights, key = _RIGHTS[table]
            same = " AND ".join(f"t.{column} = w.{column}" for column in key)
            connection.execute(
                _RESTORE_RIGHTS.format(table=table, rights=rights, key=", ".join(key), same=same), self._rights[table]
            )
        else:
            # Only what differs: an old row that is written again would be a younger one.
            recorded = f"json_populate_recordset(NULL::{table}, %s)"
            connection.execute(
                f"DELETE FROM {table} AS t WHERE NOT EXISTS (SELECT FROM {recorded} AS r WHERE r::text = t::text)",
                self._rows[table],
            )
            connection.execute(
                f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {recorded} AS r "
                f"WHERE NOT EXISTS (SELECT FROM {table} AS t WHERE t::text = r::text)",
                self._rows[table],
            )

    def _filled(self, connection: Connection) -> list[str]:
        if not self._emptied:
            return []
        row = connection.execute(
            f"SELECT {', '.join(f'EXISTS (SELECT {q})' for q in self._emptied.values())}"
        ).fetchone()
        return [name for name, holds in zip(self._emptied, row or (), strict=True) if holds]

    def _changed(self, connection: Connection) -> set[str]:
        touched = self._touched(connection)
        return self._differing(connection, touched) if touched else set()

    def _differing(self, connection: Connection, tables: list[str]) -> set[str]:
        found = self._read_fingerprints(connection, tables)
        return {table for table in tables if found[table] != self._fingerprints[table]}

    def _touched(self, connection: Connection) -> list[str]:
        """Return the tables that have lost rows or gained some since they were recorded."""
        counts = ", ".join(
            f"(SELECT ARRAY[count(*), count(*) FILTER (WHERE {self._is_new})] FROM {table})" for table in self._compared
        )
        found = connection.execute(f"SELECT {counts}").fetchone() or ()
        return [
            table
            for table, (rows, new) in zip(self._compared, found, strict=True)
            # What is volatile is written in place, too.
            if new or rows != self._fingerprints[table][0] or table in _VOLATILE
        ]

    def _read_fingerprints(self, connection: Connection, tables: list[str]) -> dict[str, tuple[int, int | None]]:
        """Count each table's rows and hash the younger ones: a row that is changed becomes one of those."""
        queries = []
        for table in tables:
            content = f"(to_jsonb(t) - '{{{_VOLATILE[table]}}}'::text[])" if table in _VOLATILE else "t"
            queries.append(
                f"SELECT '{table}', count(*), sum(hashtextextended({content}::text, 0)) "
                f"FILTER (WHERE {self._is_young}) FROM {table} AS t"
            )
        return {table: (rows, content) for table, rows, content in connection.execute(" UNION ALL ".join(queries))}


def _written_since(transaction: str) -> str:
    return f"age(xmin) <= age('{transaction}'::xid)"
