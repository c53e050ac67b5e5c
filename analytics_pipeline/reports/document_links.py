"""Addresses under which people open documents.

Under ANALYTICS_ARTIFACTS_URL where somebody serves the store; else under the API's, each with a random key that opens
that one document for some time: it is no token of the API, and other users of the machine don't know it.
"""

import hashlib
import secrets
from urllib.parse import quote

from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection, fetch_row

# Behind the address of a document: its first page as a picture.
PREVIEW = "/first-page.png"


def document_address(connection: Connection, settings: Settings, name: str, sha256: str) -> str:
    """Return an address that opens a file of the store, by its name there and its checksum, in that very revision."""
    if settings.artifacts_url:
        return f"{settings.artifacts_url}/{quote(name)}"
    return _keyed(connection, settings, name, sha256)


def preview_address(connection: Connection, settings: Settings, name: str, sha256: str) -> str:
    """Return an address under which the API shows the first page of a document of the store as a picture."""
    return f"{_keyed(connection, settings, name, sha256)}{PREVIEW}"


def new_key() -> str:
    """Return a key that nobody finds by trying."""
    return secrets.token_urlsafe(32)


def hash_key(key: str) -> bytes:
    """Return what is stored of a key."""
    return hashlib.sha256(key.encode()).digest()


def key_address(settings: Settings, key: str) -> str:
    """Return the address that a key opens."""
    return f"{settings.serve_url}/documents/{key}"


def _keyed(connection: Connection, settings: Settings, name: str, sha256: str) -> str:
    key = new_key()
    fetch_row(
        connection,
        "SELECT analytics_add_document_key(%s, %s, %s, make_interval(days => %s))",
        [hash_key(key), name, sha256, settings.document_days],
    )
    return key_address(settings, key)
