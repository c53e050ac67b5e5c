"""The documentation names what there is: every setting, command and page, and links that lead somewhere."""

import re
from pathlib import Path

import click
import pytest
from pydantic import AliasChoices

from analytics_pipeline.cli import main
from analytics_pipeline.settings import Settings

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md")])
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#]+)")


def _table_rows(page: Path) -> list[list[str]]:
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def _variable(name: str) -> str:
    alias = Settings.model_fields[name].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"ANALYTICS_{name.upper()}"


def test_the_page_of_settings_has_each_setting_and_no_other() -> None:
    documented = [name for row in _table_rows(DOCS / "settings.md") for name in re.findall(r"`([A-Z_]+)`", row[0])]
    assert sorted(documented) == sorted(_variable(name) for name in Settings.model_fields)


def test_defaults_on_the_page_of_settings_are_those_of_the_program() -> None:
    shown = {names: default for names, default, *_ in _table_rows(DOCS / "settings.md")}
    defaults = {
        f"`{_variable(name)}`": str(field.default).removeprefix(f"{ROOT}/")
        for name, field in Settings.model_fields.items()
        if field.default not in {"", None, "ecb"}
    }
    wrong = {
        names: (shown[names], default)
        for names, default in defaults.items()
        if names in shown and not shown[names].startswith(f"`{default}`")
    }
    assert wrong == {}


def test_the_page_of_commands_has_each_command() -> None:
    first_words = {re.split(r"[ `]", row[0].strip("`"))[0] for row in _table_rows(DOCS / "commands.md")}
    assert set(main.list_commands(click.Context(main))) == first_words


def test_a_metric_stands_in_the_five_files_that_the_how_to_names() -> None:
    section = (DOCS / "how-to.md").read_text(encoding="utf-8").partition("## Add a metric\n")[2].partition("\n## ")[0]
    named = {re.findall(r"`([^` ]+/[^` ]+)`", step)[0] for step in re.findall(r"^\d\. (.*)", section, re.MULTILINE)}
    files = [DOCS / "DEFINITIONS.md", *(ROOT / "sql").rglob("*.sql"), *(ROOT / "analytics_pipeline").rglob("*.py")]
    for name, key in (("arpa_growth", "arpaGrowth"), ("mrr_year_over_year", "mrrYearOverYear")):
        touched = {
            str(file.relative_to(ROOT))
            for file in files
            # A later migration may fill a column that another one has added.
            if re.search(
                rf"ADD COLUMN IF NOT EXISTS {name}" if file.parent.name == "migrations" else rf"{name}|{key}",
                file.read_text(encoding="utf-8"),
            )
        }
        assert touched == named
    assert len(named) == 5


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in DOCS.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [target for target in _LINK.findall(text) if not (page.parent / target).exists()] == []


def test_the_first_page_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
