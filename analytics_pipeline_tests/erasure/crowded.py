"""A database with everything in it, and a person in all of it."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from analytics_pipeline.erasure.stored_rows import StoredRows, TextColumn
from analytics_pipeline.messages.recipients import add_recipient
from analytics_pipeline.metrics.answers import movements_answer, revenue_answer, users_answer
from analytics_pipeline.metrics.signoffs import sign_month
from analytics_pipeline.reports.mail import Whom, enqueue_report
from analytics_pipeline.reports.remade import ShownDocument, render_remade
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import Database, migrated_database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.messages.documents import publish
from analytics_pipeline_tests.metrics.signable import note_closed
from analytics_pipeline_tests.reports.ledger import BOTH, DECEMBER, JANUARY, ODD_DAYS, close_months, fill

ANN = "ann@example.com"
CID = "cid-4711"
# Figures stand on them: the person is there already, in the events.
_IDS = {"user_id", "event_user_id", "former_user_id", "present", "subscription_id", "otherwise"}
# For tables that would hold none else.
_ROWS = (
    "INSERT INTO analytics_company_grants (role_name, company_id) VALUES ('nobody', 'acme')",
    "INSERT INTO analytics_report_requests (company_id, start_date, end_date) "
    "VALUES ('acme', '2026-01-01', '2026-01-31')",
    "INSERT INTO analytics_api_tokens (token_id, token_hash, label, company_id, scopes, expires_at) "
    "VALUES ('t', sha256('t'), 'label', 'acme', '{read}', now())",
    "INSERT INTO analytics_api_replays (caller, key, request_sha256, answer) VALUES ('t', 'k', 'x', 'answer')",
    "INSERT INTO analytics_notifications (key, source, subject, first_at, last_at, error, remedy) "
    "VALUES ('k', 'run', 's', now(), now(), 'e', 'r')",
    "INSERT INTO analytics_alert_rules (rule_id, revision, definition, sha256) VALUES ('r', 1, '{}', repeat('0', 64))",
    "INSERT INTO analytics_alerts (rule_id, revision, company_id, granularity, condition, severity, first_period, "
    "last_period, shown, threshold) VALUES ('r', 1, 'acme', 'day', 'firing', 'error', now(), now(), 's', 't')",
    "INSERT INTO analytics_ingest_rejects (source, line_number, reason, record, record_hash, company_id) "
    "VALUES ('f', 1, 'r', 'x', 'h', 'acme')",
    "INSERT INTO analytics_ingest_reject_counts (records_hash, source, kind, company_id, records) "
    "VALUES ('h', 'f', 'k', 'acme', 1)",
    "INSERT INTO analytics_source_cursors (source, overlap, last_error) VALUES ('invoices', '1 hour', 'e')",
    "INSERT INTO analytics_source_rejects (source, source_key, reason, row) VALUES ('logins', 'k', 'r', '{}')",
    "INSERT INTO analytics_job_runs (job_id, proc_name, error) VALUES (1, 'p', 'e')",
    "INSERT INTO analytics_check_results (subject, check_name, window_start, window_end, passed, severity, summary) "
    "VALUES ('a', 'c', now() - interval '1 day', now(), true, 'warning', 's')",
    "INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, cause) "
    "VALUES ('acme', '2000-01-01', '2000-01-02', 'c')",
    "INSERT INTO analytics_changed_hours (relation, company_id, hours, refreshing) "
    "VALUES ('r', 'acme', '{[2000-01-01,2000-01-02)}', 'r')",
    "INSERT INTO analytics_companies (company_id, name) VALUES ('acme', 'Acme'), ('globex', 'Globex')",
    "INSERT INTO analytics_id_aliases (company_id, former_user_id, present) VALUES ('acme', 'Ann', 'ann@example.com')",
    "INSERT INTO analytics_partition_adoptions (asset, partitions) VALUES ('a', 1)",
    "INSERT INTO analytics_dagster_storage VALUES (now(), 'runs', 1, 1)",
    "INSERT INTO analytics_document_keys (key_hash, name, sha256, expires_at) "
    "VALUES (sha256('k'), 'n', repeat('0', 64), now())",
    "INSERT INTO analytics_report_requests (company_id, start_date, end_date, state, problem) "
    "VALUES ('acme', '2026-01-01', '2026-01-31', 'failed', 'p')",
    "UPDATE analytics_signoffs SET withdrawn_at = now(), withdrawn_by = 'w', withdrawn_because = 'b' "
    "WHERE company_id IS NULL",
    "UPDATE analytics_partitions SET failure = 'f', closed_at = NULL WHERE asset = 'analytics_event_volume_hourly' "
    "AND window_start = '2025-12-01'",
)


@contextmanager
def crowded_database(embedded_home: Path, folder: Path) -> Iterator[Database]:
    """Make a database whose two months are closed, compressed and in part expired, with a row in every table."""
    with migrated_database(embedded_home, folder) as database:
        with database.connect(autocommit=True) as connection:
            fill(connection)
            for former, present, name in (("ann", ANN, "A. Smith"), ("cid", CID, "C. Jones")):
                _rename(connection, former, present, name)
            # Another person of another company, who is called the same.
            connection.execute("UPDATE analytics_events SET user_id = %s WHERE user_id = 'eve'", [ANN])
            connection.execute(
                "UPDATE analytics_events SET metadata = %s WHERE user_id = 'dan'", [json.dumps({"referred_by": ANN})]
            )
            add_event(connection, "2026-01-25T09:00", "user.deleted", category="user_activity", user_id=ANN, value=None)
            close_months(connection)
            note_closed(connection, BOTH)
            _publish(connection)
            for statement in _ROWS:
                connection.execute(statement.encode())
            _conflict(connection)
            compress = "SELECT compress_chunk(c, true) FROM show_chunks('analytics_events') AS c"
            connection.execute(compress)
            connection.execute("SELECT drop_chunks('analytics_events', older_than => timestamptz '2025-12-11')")
        yield database


def plant(connection: Connection, person: str) -> tuple[list[str], list[str]]:
    """Put the person into every column that takes it, and return tables without a row, and columns that refuse it."""
    empty, refused = [], []
    for table in StoredRows(connection).tables():
        scope = "WHERE company_id = 'acme' OR company_id IS NULL" if table.has_company else ""
        if table.columns and not connection.execute(f"SELECT FROM {table.name} {scope}".encode()).fetchall():
            empty.append(table.name)
            continue
        for column in table.columns:
            # A row that is changed is another one: each column is tried in all of them.
            query = f'SELECT ctid::text, "{column.name}" FROM {table.name} {scope}'
            rows = connection.execute(query.encode()).fetchall()
            tried = [(row, value) for row, before in rows for value in _values(column, before, person)]
            if not any(_plant(connection, table.name, column.name, row, value) for row, value in tried):
                refused.append(f"{table.name}.{column.name}")
    return empty, refused


def _values(column: TextColumn, before: Any, person: str) -> list[Any]:
    """Return what may be put into a column: the person within words, alone, or beside what is there."""
    if column.name in _IDS:
        return [person]
    match column.kind:
        case "text":
            return [f"said {person}.", person]
        case "list":
            return [[person]]
        case "bytes":
            return [f'{{"reason": "{person}"}}'.encode()]
    if isinstance(before, list):
        return [json.dumps([*before, person])]
    return [json.dumps({**(before or {}), "by": [person], person: 1})]


def _plant(connection: Connection, table: str, column: str, row: str, value: Any) -> bool:
    """Put the value into a row, and return whether that was possible."""
    names = sql.Identifier(table), sql.Identifier(column)
    there = sql.SQL("SELECT count(*) FROM {} WHERE {}::text = %s").format(*names)
    if column in _IDS:
        return connection.execute(there, [value]).fetchone() != (0,)
    try:
        with connection.transaction():
            if table == "analytics_audit":
                connection.execute("ALTER TABLE analytics_audit DISABLE TRIGGER analytics_keep_audit")
            connection.execute(sql.SQL("UPDATE {} SET {} = %s WHERE ctid = %s::tid").format(*names), [value, row])
            if table == "analytics_audit":
                connection.execute("ALTER TABLE analytics_audit ENABLE TRIGGER analytics_keep_audit")
    except psycopg.IntegrityError:
        return connection.execute(there, [str(value)]).fetchone() != (0,)
    return True


def naming(connection: Connection, name: str, company: str) -> list[str]:
    """Return the tables, those of stored aggregates among them, of which a row of the company has the name in it.

    By the catalog and the text of whole rows alone, whatever the erasure knows.
    """
    tables = connection.execute(
        "SELECT n.nspname, c.relname, EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND "
        "a.attname = 'company_id') FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'r' AND (n.nspname = current_schema() OR c.relname LIKE '\\_materialized%')"
    ).fetchall()
    found = []
    for schema, table, has_company in tables:
        scope = sql.SQL("company_id = {} OR company_id IS NULL" if has_company else "true OR {} = ''").format(company)
        query = sql.SQL("SELECT count(*) FROM {} AS t WHERE ({}) AND strpos(lower(t::text), lower(%s)) > 0")
        ((number,),) = connection.execute(query.format(sql.Identifier(schema, table), scope), [name]).fetchall()
        if number:
            found.append(table)
    return sorted(found)


def figures(connection: Connection) -> dict[str, Any]:
    """Return every figure there is: tables of figures, stored aggregates without their users, and live answers."""
    found: dict[str, Any] = {}
    for table in ("analytics_revenue_metrics", "analytics_mrr_movements", "analytics_user_metrics"):
        query = f"SELECT to_jsonb(t) - 'computed_at' FROM {table} AS t ORDER BY 1"
        found[table] = connection.execute(query.encode()).fetchall()
    for table in (
        "analytics_user_days", "analytics_mrr_snapshots", "analytics_revenue_monthly", "analytics_user_activity_daily",
        "analytics_event_volume_hourly", "analytics_crypto_monthly", "analytics_billing_daily",
    ):  # fmt: skip
        found[table] = connection.execute(f"SELECT to_jsonb(t) FROM {table} AS t ORDER BY 1".encode()).fetchall()
    for table in ("analytics_user_activity_monthly", "analytics_users", "analytics_user_deletions"):
        query = f"SELECT array_agg(j ORDER BY j) FROM (SELECT to_jsonb(t) - 'user_id' AS j FROM {table} AS t) AS r"
        found[table] = connection.execute(query.encode()).fetchall()
    found["subscriptions"] = connection.execute(
        "SELECT to_jsonb(s) - '{user_id,event_user_id,otherwise,subscription_id}'::text[] "
        "FROM analytics_subscriptions AS s ORDER BY 1"
    ).fetchall()
    for company, window in ((None, JANUARY), ("acme", DECEMBER), ("acme", ODD_DAYS)):
        for answer in (revenue_answer, movements_answer, users_answer):
            given = answer(connection, company, window, *(() if answer is users_answer else ("EUR",)))
            found[f"{answer.__name__} {company} {window}"] = given
    return found


def _rename(connection: Connection, former: str, present: str, name: str) -> None:
    connection.execute(
        "UPDATE analytics_events SET user_id = %s, metadata = metadata || %s WHERE user_id = %s",
        [present, json.dumps({"name": name, "mail": present, "source_id": f"of {present}"}), former],
    )
    # A subscription may be called as its customer is.
    connection.execute(
        "UPDATE analytics_events SET metadata = jsonb_set(metadata, '{subscription_id}', to_jsonb(user_id)) "
        "WHERE user_id = %s AND metadata ? 'subscription_id'",
        [present],
    )


def _publish(connection: Connection) -> None:
    """Have documents, a signed month, recipients, and mails to them."""
    add_recipient(connection, "acme", "monthly_report", ANN)
    for company in (None, "acme", "globex"):
        recorded = publish(connection, company, period="2026-01", definitions_version=3, content=page_of(company))
        enqueue_report(connection, get_settings(), recorded, Whom.ALL)
    sign_month(connection, JANUARY, ANN, "EUR", None, actor=None)


def page_of(company: str | None) -> bytes:
    """Return a document of a company, None: over all of them, that names the person."""
    words = [f"Restated: January was signed off by {ANN}."]
    shown = ShownDocument(company or "All companies", "January 2026", [("Revenue", "1.00")], words, JANUARY.end, 2)
    return render_remade(shown).content


def _conflict(connection: Connection) -> None:
    stored, sent = (
        json.dumps({"company_id": "acme", "user_id": user, "metadata": {"name": "A. Smith", "quantity": 1}})
        for user in (ANN, "Ann")
    )
    connection.execute(
        'INSERT INTO analytics_event_conflicts (event_id, "timestamp", company_id, stored, sent, source) '
        "VALUES (gen_random_uuid(), '2026-01-05', 'acme', %s, %s, 'f')",
        [stored, sent],
    )


def record(number: int, user: str, **more: object) -> dict[str, object]:
    """Return a record of a payment, as a file of the inbox holds it."""
    return {
        "event_id": f"p{number}",
        "timestamp": f"2026-01-20T10:00:0{number}Z",
        "company_id": "acme",
        "user_id": user,
        "event_type": "payment.received",
        "category": "revenue",
        "value": str(Decimal(number)),
        "currency": "EUR",
        "metadata": {"name": "A. Smith", **more},
    }


def packed_lines(*records: dict[str, object]) -> bytes:
    """Return records as a packed file of JSON Lines."""
    return gzip.compress("".join(f"{json.dumps(one)}\n" for one in records).encode())
