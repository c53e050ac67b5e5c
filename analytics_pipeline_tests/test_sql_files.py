"""Every named query is used by its plain name, and every name that is used is a query."""

import re
from pathlib import Path

import analytics_pipeline
from analytics_pipeline.sql_files import queries

PACKAGE = Path(analytics_pipeline.__file__).parent
SOURCES = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}


def test_every_query_is_used_by_its_name() -> None:
    text = "\n".join(SOURCES.values())
    assert [name for name in queries() if f'"{name}"' not in text] == []


def test_every_query_that_is_asked_for_is_there() -> None:
    asked = {name for text in SOURCES.values() for name in re.findall(r'load_query\("(\w+)"\)', text)}
    assert len(asked) > 100
    assert asked - set(queries()) == set()
