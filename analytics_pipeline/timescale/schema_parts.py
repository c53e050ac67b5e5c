"""The parts of the schema that are whole files, applied again where something differs: functions, views, access.

Replacing a view or a policy takes the strongest lock there is, behind which every reader queues: so what stands
already is left alone. The files and what stands in the database are both compared with what they were when the part
was applied last, so that what was dropped or altered by hand is brought back.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from psycopg import sql

from analytics_pipeline.currencies import CRYPTO_PREFIX, TICKER_DIGITS, TICKER_FORM, currencies
from analytics_pipeline.sql_files import list_sql, load_query, load_sql
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.waiting import WatchedConnection, change_briefly


@dataclass(frozen=True, slots=True)
class SchemaPart:
    """A part by its name in ``schema_part_states.sql``, and the statements that bring it about, in order."""

    name: str
    statements: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """The checksum of its text."""
        return hashlib.sha256("\0".join(self.statements).encode()).hexdigest()


def bring_up_to_date(connection: WatchedConnection) -> tuple[str, ...]:
    """Apply each part whose text or state isn't what it was when it was applied last, and return their names.

    A part is one transaction, which waits for others only briefly at a time. Raises ``LockTimeoutError`` when somebody
    holds what it needs for longer than ``ANALYTICS_LOCK_TIMEOUT``.
    """
    parts = schema_parts(connection)
    recorded = _recorded(connection)
    states = _states(connection)
    applied = []
    for part in parts:
        if recorded.get(part.name) != (part.sha256, states[part.name]):
            change_briefly(connection, partial(_apply, connection, part))
            applied.append(part.name)
            # It may have changed what the parts after it are about: a function that is new is open to everybody.
            states = _states(connection)
    if applied:
        _record(connection, parts, states)
    return tuple(applied)


def schema_parts(connection: Connection) -> list[SchemaPart]:
    """Return the parts in the order in which they are applied: functions, the views that call them, who may do what."""
    digits = sql.SQL(load_sql("currency_digits.sql")).format(
        digits=sql.Literal(json.dumps(currencies())),
        ticker_digits=sql.Literal(TICKER_DIGITS),
        crypto_prefix=sql.Literal(CRYPTO_PREFIX),
        ticker_form=sql.Literal(f"^({TICKER_FORM})$"),
    )
    functions = (*map(load_sql, list_sql("functions")), digits.as_string(connection))
    return [
        SchemaPart("functions", functions),
        SchemaPart("views", (load_sql("views.sql"), load_sql("operations.sql"))),
        *(SchemaPart(name, (load_sql(f"{name}.sql"),)) for name in ("access", "row_security", "api")),
    ]


def _recorded(connection: Connection) -> dict[str, tuple[str, str]]:
    rows = connection.execute("SELECT part, sha256, state FROM analytics_schema_parts").fetchall()
    return {part: (sha256, state) for part, sha256, state in rows}


def _states(connection: Connection) -> Mapping[str, str | None]:
    return dict(connection.execute(load_query("schema_part_states")).fetchall())


def _apply(connection: Connection, part: SchemaPart) -> None:
    with connection.transaction():
        # Functions call each other whatever their order.
        connection.execute("SET LOCAL check_function_bodies = off")
        for statement in part.statements:
            connection.execute(statement.encode())


def _record(connection: Connection, parts: list[SchemaPart], states: Mapping[str, str | None]) -> None:
    with connection.transaction():
        for part in parts:
            connection.execute(
                "INSERT INTO analytics_schema_parts (part, sha256, state) VALUES (%s, %s, %s) "
                "ON CONFLICT (part) DO UPDATE SET sha256 = excluded.sha256, state = excluded.state, applied_at = now()",
                [part.name, part.sha256, states[part.name]],
            )
