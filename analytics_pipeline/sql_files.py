"""Reads the SQL of this project from its one home, ``sql/``."""

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
# An installed wheel carries the folder inside the package; a checkout has it beside the package.
SQL_ROOT = _PACKAGE / "_sql" if (_PACKAGE / "_sql").is_dir() else _PACKAGE.parent / "sql"


@cache
def load_sql(name: str) -> str:
    """Return the text of ``sql/<name>``, for example ``queries/stale_ranges.sql``."""
    return (SQL_ROOT / name).read_text(encoding="utf-8")


def list_sql(folder: str) -> list[str]:
    """Return the names (relative to ``sql/``) of the SQL files in a folder, sorted."""
    return sorted(f"{folder}/{path.name}" for path in (SQL_ROOT / folder).glob("*.sql"))
