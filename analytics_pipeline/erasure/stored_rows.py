"""The other tables of the database: every column that may hold text, as the catalog lists them.

A table or a column that a later release adds is counted, changed and searched without being named here. Named are the
columns whose words are the program's own: a state, a name of an asset, a checksum. They are left alone, because an id
may be any word.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import psycopg
from psycopg import sql

from analytics_pipeline.erasure.subject import Subject, without_record
from analytics_pipeline.events.erased import SUBSCRIPTION, replace_word
from analytics_pipeline.events.exact_json import parse_json, to_json
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.audit import AUDIT
from analytics_pipeline.timescale.connection import Connection, fetch_row, lock_changes

# Of every table that has a column of the name.
OWN_WORDS: Final = frozenset(
    {
        "act", "asset", "attempts", "audience", "base", "category", "channel", "check_name", "company_id", "condition",
        "currency", "event_type", "format", "granularity", "interval", "kind", "locale", "metric", "metrics", "outcome",
        "page_size", "period", "proc_name", "quote", "record_hash", "records_hash", "relation", "report", "run_id",
        "scopes", "sections", "severity", "sha256", "state", "status", "table_name", "time_zone", "unconverted", "unit",
    }
)  # fmt: skip
# Of one table.
OWN_WORDS_OF: Final[Mapping[str, frozenset[str]]] = {
    "analytics_alerts": frozenset({"resolution", "rule_id"}),
    "analytics_alert_rules": frozenset({"rule_id"}),
    "analytics_api_replays": frozenset({"request_sha256"}),
    "analytics_api_tokens": frozenset({"token_hash", "token_id"}),
    "analytics_archive": frozenset({"location"}),
    "analytics_archive_ranges": frozenset({"columns", "writing_columns"}),
    "analytics_changed_hours": frozenset({"refreshing"}),
    "analytics_check_results": frozenset({"subject"}),
    "analytics_companies": frozenset({"by_hand"}),
    "analytics_document_keys": frozenset({"key_hash", "name"}),
    "analytics_erased_ids": frozenset({"digest", "recorded_as", "stored_as"}),
    "analytics_erasures": frozenset({"places", "pseudonym"}),
    "analytics_erasure_key": frozenset({"key"}),
    "analytics_fx_rates": frozenset({"source"}),
    "analytics_metric_changes": frozenset({"refreshing", "zones"}),
    "analytics_notifications": frozenset({"source"}),
    "analytics_outbox": frozenset({"attachment_sha256", "claimed_by"}),
    "analytics_policies": frozenset({"client", "name", "origin", "value"}),
    # Names in the store are made of companies alone.
    "analytics_report_documents": frozenset({"name", "uri"}),
    "analytics_report_files": frozenset({"name", "uri"}),
    "analytics_report_recipients": frozenset({"unsubscribe_key"}),
    "analytics_schema_migrations": frozenset({"name"}),
    "analytics_schema_parts": frozenset({"part"}),
    "analytics_signed_figures": frozenset({"figure"}),
    "analytics_signoffs": frozenset({"document_sha256"}),
    "analytics_source_cursors": frozenset({"open_transactions", "source"}),
    "analytics_source_rejects": frozenset({"source"}),
}
ALIASES: Final = "analytics_id_aliases"
_RECORDS: Final = "analytics_ingest_rejects"
_ROWS: Final = "analytics_source_rejects"
_CURSORS: Final = "analytics_source_cursors"
_REPLAYS: Final = "analytics_api_replays"
# An id by itself: another one that holds it as a word is another person's.
_IDS: Final = frozenset({"user_id", "event_user_id", "former_user_id", "present", "subscription_id"})


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column: ``kind`` is text, list (of texts), json or bytes."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of which some columns may hold text."""

    name: str
    has_company: bool
    columns: Sequence[TextColumn]


class StoredRows:
    """All small tables, in one transaction: keys that one table has of another stay those of the same rows."""

    def __init__(self, connection: Connection) -> None:
        """Take an autocommit connection."""
        self._connection = connection

    def count(self, subject: Subject) -> Mapping[str, int]:
        """Count the rows by table."""
        counts: Counter[str] = Counter()
        for table in self.tables():
            counts[table.name] += self._count_of_company(table, subject)
            counts[table.name] += sum(1 for _ in self._changes(table, subject))
        return counts

    def erase(self, subject: Subject) -> None:
        """Remove the company's rows; put the pseudonym in every other place."""
        with self._connection.transaction():
            lock_changes(self._connection)
            self._connection.execute("SET CONSTRAINTS ALL DEFERRED")
            # Balances stay what they are.
            keeps = "off" if subject.is_company else "on"
            self._connection.execute("SELECT set_config('analytics.keeps_mrr_snapshots', %s, true)", [keeps])
            tables = self.tables()
            if subject.is_company:
                self._connection.execute(load_query("erasure_company_changed"), {"company": subject.company_id})
                for query in ("erasure_delete_replays", "erasure_delete_rejected_rows"):
                    self._connection.execute(load_query(query), {"company": subject.company_id})
                for table in tables:
                    if table.has_company:
                        self._delete(table, subject)
            for table in tables:
                if table.name != ALIASES:
                    self._change(table, subject)

    def search(self, subject: Subject) -> Iterator[str]:
        """Look through every column that may hold text, of all tables there are."""
        for table in self.tables():
            of_company = self._count_of_company(table, subject)
            if of_company:
                yield f"{table.name}: {of_company:,} rows of the company"
            left: Counter[str] = Counter()
            for _, changed in self._changes(table, subject):
                left.update(changed.keys())
            for column, number in left.items():
                yield f"{table.name}.{column}: {number:,} rows"

    def suspect(self, subject: Subject) -> Iterator[str]:
        """Look through the same columns."""
        for table in self.tables() if subject.in_texts else ():
            for column in table.columns:
                query = sql.SQL("SELECT {} FROM {} AS t WHERE lower({}) LIKE ANY (%s) AND {}").format(
                    _as_text(column), sql.Identifier(table.name), _as_text(column), _scope(table, subject)
                )
                rows = self._connection.execute(query, [subject.patterns])
                if number := sum(1 for (text,) in rows if subject.suspects(text)):
                    yield f"{table.name}.{column.name}: {number:,} rows"

    def tables(self) -> list[TextTable]:
        """Return the tables, with the columns that are not the program's own words."""
        columns: dict[str, list[TextColumn]] = {}
        with_company: dict[str, bool] = {}
        for table, column, kind, has_company in self._connection.execute(load_query("erasure_columns")).fetchall():
            with_company[table] = has_company
            columns.setdefault(table, [])
            if column not in OWN_WORDS and column not in OWN_WORDS_OF.get(table, frozenset()):
                columns[table].append(TextColumn(column, kind))
        return [TextTable(name, with_company[name], found) for name, found in columns.items()]

    def _changes(self, table: TextTable, subject: Subject) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield the rows that name it, by where they are, with the columns that are others without it."""
        if not table.columns:
            return
        names = [column.name for column in table.columns]
        scope = _scope(table, subject)
        # Of bytes it isn't known what they stand for.
        is_text = all(column.kind != "bytes" for column in table.columns)
        query = sql.SQL(
            "SELECT t.ctid::text, {}, {} FROM {} AS t WHERE {} AND (%s OR lower(concat_ws(' ', {})) LIKE ANY (%s))"
        ).format(
            sql.SQL("t.company_id IS NOT NULL" if table.has_company else "false"),
            sql.SQL(", ").join(map(_readable, table.columns)),
            sql.Identifier(table.name),
            scope,
            sql.SQL(", ").join(
                sql.SQL("{}::text").format(sql.Identifier("t", column.name)) for column in table.columns
            ),
        )
        for place, is_of_company, *values in self._connection.execute(
            query, [not is_text, subject.patterns]
        ).fetchall():
            row = dict(zip(names, values, strict=True))
            changed = {
                column.name: now
                for column in table.columns
                if (now := _without(table.name, column, row, subject, alone=is_of_company)) != row[column.name]
            }
            if changed:
                yield place, changed

    def _change(self, table: TextTable, subject: Subject) -> None:
        with self._unguarded(table.name):
            for place, changed in self._changes(table, subject):
                if table.name == _REPLAYS:
                    self._execute("DELETE FROM {} WHERE ctid = %s::tid", table, [place])
                    continue
                if table.name == _RECORDS and "record" in changed:
                    # As the same record would be rejected again.
                    changed["record_hash"] = sha256(changed["record"].encode()).hexdigest()
                sets = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in changed)
                try:
                    with self._connection.transaction():
                        self._execute(
                            sql.SQL("UPDATE {{}} SET {} WHERE ctid = %s::tid").format(sets).as_string(),
                            table,
                            [*changed.values(), place],
                        )
                except psycopg.errors.UniqueViolation:
                    # Without what told them apart, two rows are one.
                    self._execute("DELETE FROM {} WHERE ctid = %s::tid", table, [place])

    @contextmanager
    def _unguarded(self, table: str) -> Iterator[None]:
        """Let the audit be changed, which nobody else may: only its owner can, and only what names the subject."""
        if table != AUDIT:
            yield
            return
        self._connection.execute("ALTER TABLE analytics_audit DISABLE TRIGGER analytics_keep_audit")
        yield
        self._connection.execute("ALTER TABLE analytics_audit ENABLE TRIGGER analytics_keep_audit")

    def _count_of_company(self, table: TextTable, subject: Subject) -> int:
        if not subject.is_company or not table.has_company:
            return 0
        query = sql.SQL("SELECT count(*) FROM {} WHERE company_id = %s").format(sql.Identifier(table.name))
        number: int = fetch_row(self._connection, query, [subject.company_id])[0]
        return number

    def _delete(self, table: TextTable, subject: Subject) -> None:
        self._execute("DELETE FROM {} WHERE company_id = %s", table, [subject.company_id])

    def _execute(self, statement: str, table: TextTable, values: Sequence[Any]) -> None:
        self._connection.execute(sql.SQL(statement).format(sql.Identifier(table.name)), values)


def _scope(table: TextTable, subject: Subject) -> sql.Composable:
    if not table.has_company or subject.is_company:
        return sql.SQL("true")
    # A user of another company is another person.
    return sql.SQL("(t.company_id = {} OR t.company_id IS NULL)").format(sql.Literal(subject.company_id))


def _as_text(column: TextColumn) -> sql.Composable:
    name = sql.Identifier("t", column.name)
    # Bytes are escaped but for what is ASCII.
    return sql.SQL("encode({}, 'escape')" if column.kind == "bytes" else "{}::text").format(name)


def _readable(column: TextColumn) -> sql.Composable:
    name = sql.Identifier("t", column.name)
    return sql.SQL("{}::text").format(name) if column.kind == "json" else name


def _without(table: str, column: TextColumn, row: Mapping[str, Any], subject: Subject, *, alone: bool) -> Any:
    """Return the value of a column without the ids; the value itself where it has none, None of bytes that have one.

    ``alone``: a plain id of a person counts where it is the whole value, for the row is one of the company.
    """
    alone = alone or subject.is_company
    value = row[column.name]
    if value is None:
        return None
    match column.kind:
        case "bytes":
            text = bytes(value).decode("utf-8", "replace")
            return value if subject.text(text, alone=alone) == text else None
        case "list":
            return [None if item is None else subject.text(item, alone=alone) for item in value]
        case "json":
            parsed = parse_json(value)
            now = subject.json(_without_keys(parsed, subject) if table == _ROWS else parsed)
            return value if now == parsed else to_json(now)
    return _without_words(table, column.name, row, subject, alone=alone)


def _without_words(table: str, column: str, row: Mapping[str, Any], subject: Subject, *, alone: bool) -> str:
    value: str = row[column]
    if column == SUBSCRIPTION:
        return subject.subscription(value)
    if column in _IDS:
        return subject.stored_as.get(value, value)
    if table == _CURSORS and column == "position_key":
        # Read again from the beginning of the instant; what is known is recognised.
        return "" if subject.text(value, within=True) != value else value
    if table == _RECORDS and column == "record":
        return without_record(value, subject, within=alone)
    return subject.text(value, alone=alone, within=_is_of_subject(table, row, subject, alone=alone))


def _is_of_subject(table: str, row: Mapping[str, Any], subject: Subject, *, alone: bool) -> bool:
    """Return whether a row is of a rejected record of the person: in its words ids count however plain they are."""
    if table == _RECORDS:
        return bool(without_record(row["record"], subject, within=alone) != row["record"])
    if table == _ROWS:
        record = parse_json(row["row"])
        return isinstance(record, dict) and subject.is_record_of(record)
    return False


def _without_keys(row: Any, subject: Subject) -> Any:
    """Return a rejected row of the ERP with the pseudonym in its key, which may be made of the id."""
    if not isinstance(row, dict) or subject.is_company or not subject.is_record_of(row) or "source_key" not in row:
        return row
    user_id = str(row["user_id"])
    return {**row, "source_key": replace_word(str(row["source_key"]), user_id, subject.stored_as[user_id])}
