"""Tokens of the API: made, listed and revoked by operators, and looked up for requests.

A token itself is shown once and stored as its SHA-256 alone: it is 256 random bits, which nobody finds by trying.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.errors import ArgumentError, UnknownNameError
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.connection import Connection

PREFIX = "ap_"
MAX_LABEL_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is stored; ``company_id`` None: an operator's. Instants are in UTC."""

    token_id: str
    label: str
    company_id: str | None
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    is_valid: bool


def create_token(
    connection: Connection, label: str, company_id: str | None, scopes: Iterable[Scope], valid_for: timedelta
) -> tuple[str, str]:
    """Store a new token and return its id and the token itself; ``None`` as the company makes it an operator's.

    Raises ``AnalyticsError`` for a blank company, a label that is blank, too long or not one line of text, and without
    a scope.
    """
    if company_id is not None and not company_id.strip():
        raise ArgumentError("The company is empty: name one, or say --operator.")
    if not label.strip():
        raise ArgumentError("The label is empty: say who the token is for.")
    if len(label) > MAX_LABEL_CHARACTERS or not label.isprintable():
        raise ArgumentError(f"A label is one line of at most {MAX_LABEL_CHARACTERS} characters that can be printed.")
    token_id, token = f"t{secrets.token_hex(4)}", f"{PREFIX}{secrets.token_urlsafe(32)}"
    parameters = {
        "token_id": token_id,
        "hash": hash_token(token),
        "label": label,
        "company_id": company_id,
        "scopes": [str(scope) for scope in scopes],
        "valid_for": valid_for,
    }
    details = {name: parameters[name] for name in ("label", "company_id", "scopes", "valid_for")}
    with connection.transaction():
        connection.execute(load_query("token_create"), parameters)
        audit.record(connection, "token.create", token_id, details)
    return token_id, token


def revoke_token(connection: Connection, token_id: str) -> bool:
    """Make a token worthless, and return whether it was not before. Raises ``AnalyticsError`` without such a token."""
    with connection.transaction():
        row = connection.execute(load_query("token_revoke"), {"token_id": token_id}).fetchone()
        if row is None:
            raise UnknownNameError(f"There is no token {token_id}: see 'analytics-pipeline token list'.")
        if row[0]:
            audit.record(connection, "token.revoke", token_id, {})
    return bool(row[0])


def list_tokens(connection: Connection) -> list[Token]:
    """Return all tokens, the oldest first."""
    return [Token(*row) for row in connection.execute(load_query("token_list"))]


def hash_token(token: str) -> bytes:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).digest()
