"""Reads the SQL of this project from its one home, ``sql/``.

Named queries stand in ``sql/queries``, a file per package, each after a line ``-- name: ...``.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
# An installed wheel carries the folder inside the package; a checkout has it beside the package.
SQL_ROOT = _PACKAGE / "_sql" if (_PACKAGE / "_sql").is_dir() else _PACKAGE.parent / "sql"
_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def load_sql(name: str) -> str:
    """Return the text of ``sql/<name>``, for example ``functions/revenue.sql``."""
    return (SQL_ROOT / name).read_text(encoding="utf-8")


def list_sql(folder: str) -> list[str]:
    """Return the names (relative to ``sql/``) of the SQL files in a folder, sorted."""
    return sorted(f"{folder}/{path.name}" for path in (SQL_ROOT / folder).glob("*.sql"))


def load_query(name: str) -> str:
    """Return the query of that name, for example ``stale_ranges``. Raises ``KeyError`` without one."""
    return queries()[name]


@cache
def queries() -> Mapping[str, str]:
    """Return every named query. Raises ``ValueError`` if two have one name."""
    found: dict[str, str] = {}
    for file in list_sql("queries"):
        _, *parts = _NAME.split(load_sql(file))
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise ValueError(f"{file}: another query has the name {name} already")
            found[name] = text.strip()
    return found
