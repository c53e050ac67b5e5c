"""URLs of PostgreSQL databases, and what is wrong with one, said without showing it.

An unescaped character cuts a password in two, and PostgreSQL's own message, or one of ours that names host and
database, would show a part of it.
"""

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

_FORM = (
    "must look like postgresql://user:password@host:5432/database, with characters such as @, /, %, : and blanks of "
    "the password as %40, %2F, %25, %3A and %20"
)


def require_database_url(url: str) -> str:
    """Return the URL as it is. Raises ``ValueError``, which shows nothing of it, unless it can be one."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError(_FORM)
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # Its message quotes what it could not read.
        raise ValueError(_FORM) from None
    host, port, database = (str(parts.get(part) or "") for part in ("host", "port", "dbname"))
    where = f"{host}{port}{database}"
    if "@" in where or any(c.isspace() for c in url) or (not port.replace(",", "").isdecimal() and port):
        raise ValueError(_FORM)
    return url


def url_environment(url: str) -> dict[str, str]:
    """Return what a URL says by the variables that PostgreSQL's programs read: arguments are everybody's to see."""
    return {
        option.envvar.decode(): option.val.decode()
        for option in Conninfo.parse(url.encode())
        if option.envvar is not None and option.val is not None
    }


def describe_url(url: str) -> str:
    """Return ``host:port/database`` of a libpq URL, for messages: no user, no password."""
    parts = conninfo_to_dict(url)
    host = parts.get("host") or "localhost"
    return f"{host}:{parts.get('port') or 5432}/{parts.get('dbname') or 'postgres'}"
