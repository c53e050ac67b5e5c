"""Imports go to lower layers only, and the frameworks stay in the topmost ones."""

import ast
from functools import cache
from pathlib import Path

import dagster
import pytest

import analytics_pipeline

ROOT = Path(analytics_pipeline.__file__).parent
# From the lowest to the highest; the parts of one layer know nothing of each other.
LAYERS = (
    "text processes asset_names",
    "errors sql_files signals",
    "ages currencies database_urls folders locales mail_addresses windows",
    "settings timescale languages",
    "store embedded intake",
    "database",
    "events fx",
    "companies",
    "erp metrics",
    "frames sample",
    "messages",
    "health",
    "alerts",
    "reports",
    "engines",
    "archive",
    "operations",
    "erasure",
    "orchestration api",
    "cli",
)
# Modules of the top that belong to one part.
PART_OF = {
    **dict.fromkeys(("definitions", "component"), "orchestration"),
    **dict.fromkeys(("__init__", "__main__", "demo", "doctor", "supervisor", "up"), "cli"),
}
FRAMEWORKS = {"click", "dagster", "dagster_postgres", "fastapi", "starlette", "uvicorn"}
MAY_USE_FRAMEWORKS = {"orchestration", "api", "cli"}
# What is in them is called like what it is about, which has modules elsewhere.
NAMED_AFTER_THEIR_SUBJECT = ("cli", "health", "orchestration", "api/routes", "messages/channels", "reports/sections")
# How Dagster reaches the process of a run.
UNDOCUMENTED_TAGS = {"GRPC_INFO_TAG"}


@pytest.mark.slow
def test_imports_go_to_lower_layers_and_frameworks_stay_at_the_top() -> None:
    rank = {part: rank for rank, parts in enumerate(LAYERS) for part in parts.split()}
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        part = _part(path.relative_to(ROOT).parts[0].removesuffix(".py"))
        where = path.relative_to(ROOT)
        if part not in rank:
            wrong.append(f"{where}: LAYERS has no place for {part}")
            continue
        for line, (package, *rest) in _imports(path):
            if package in FRAMEWORKS and part not in MAY_USE_FRAMEWORKS:
                wrong.append(f"{where}:{line} imports {package}")
            imported = _part(rest[0]) if package == ROOT.name and rest else part
            if imported != part and rank.get(imported, len(LAYERS)) >= rank[part]:
                wrong.append(f"{where}:{line} imports {imported}, which is no lower layer than {part}")
    assert not wrong, "\n".join(wrong)


def test_a_name_of_a_module_is_taken_once_unless_it_says_of_whom_a_command_check_job_route_or_section_is() -> None:
    modules: dict[str, list[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        where = path.relative_to(ROOT)
        if path.name != "__init__.py" and not any(where.is_relative_to(folder) for folder in NAMED_AFTER_THEIR_SUBJECT):
            modules.setdefault(path.name, []).append(str(where))
    assert not [same for same in modules.values() if len(same) > 1]


def test_one_module_knows_fsspec() -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if any(name[0] in {"fsspec", "upath"} for _, name in _imports(path))
    }
    assert users == {"store.py"}


def test_what_dagster_has_a_public_name_for_is_imported_by_it() -> None:
    internal = [
        (path.relative_to(ROOT), line, name)
        for path in sorted((ROOT / "orchestration").rglob("*.py"))
        for line, name in _imports(path)
        if name[0] == "dagster" and name[1].startswith("_")
    ]
    assert internal, "the test finds nothing to judge"
    public = [found for found in internal if hasattr(dagster, found[2][-1])]
    tags = [found for found in internal if found[2][-1].endswith("_TAG") and found[2][-1] not in UNDOCUMENTED_TAGS]
    assert not public + tags


def _part(name: str) -> str:
    return PART_OF.get(name, name)


@cache
def _imports(path: Path) -> list[tuple[int, list[str]]]:
    """Return line and full name of what a file imports, in functions and for types alone, too."""
    found: list[tuple[int, list[str]]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.lineno, f"{node.module}.{alias.name}".split(".")) for alias in node.names]
    return found
