"""Commands that the program prints, as remedies, in sentences and as examples, can be pasted as they are."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import analytics_pipeline
from analytics_pipeline.cli import main
from analytics_pipeline.cli.program import NAME, as_called, examples, program
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.command_tree import commands
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event

PACKAGE = Path(analytics_pipeline.__file__).parent
# What only its reader knows stands for itself, in capitals; what the program fills in is this.
FILLED_IN = "FILLEDIN"
# A command in a sentence is quoted, or ends the line after a colon; a remedy is a command alone.
_in_sentence = re.compile(
    rf"'({NAME} [^\n]*?[^\s\\])'(?![\w-])|`({NAME} [^`\n]*)`|(?::|^)\s*({NAME} [^\n]*)$", re.MULTILINE
)
_any = re.compile(rf"(?<![\w./-]){NAME} (?=[a-z-])")


def _texts() -> Iterator[tuple[str, str]]:
    """Yield every text of the program that is no docstring of Python's, with where it stands."""
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if NAME not in text:
            continue
        tree = ast.parse(text)
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef) and node.body and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            where = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                yield where, "".join(_text_of(part) for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside | docstrings:
                yield where, node.value


def _text_of(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else FILLED_IN


def problem_of(command: str) -> str | None:
    """Return why a command could not be run as it stands; its values are not judged."""
    try:
        words = shlex.split(command, comments=True)[1:]
    except ValueError as error:
        return str(error)
    context = click.Context(main, info_name=NAME)
    found: click.Command = main
    while isinstance(found, click.Group):
        if not words or (inner := found.get_command(context, words[0])) is None:
            return f"there is no command {words[:1]}"
        context = click.Context(inner, parent=context, info_name=words[0], **inner.context_settings)
        found, words = inner, words[1:]
    if words and words[-1].endswith((".", ",", ";", ":")):
        return "prose follows"
    # What is filled in may be a whole option.
    words = [word for word in words if not (word.startswith("--") and FILLED_IN in word)]
    try:
        given, left, _ = found.make_parser(context).parse_args(args=list(words))
    except click.UsageError as error:
        return error.format_message()
    if set(left) - {FILLED_IN}:
        return f"{left} is no part of it"
    missing = [p.name for p in found.params if p.required and not given.get(str(p.name))]
    return f"{missing} is missing" if missing and FILLED_IN not in command else None


def test_a_command_in_a_text_of_the_program_can_be_run_as_it_stands() -> None:
    wrong, judged = [], 0
    for where, text in _texts():
        found = [next(filter(None, match.groups())) for match in _in_sentence.finditer(text)]
        wrong += [f"{where}: {command!r}: {problem}" for command in found if (problem := problem_of(command))]
        judged += len(found)
        if len(_any.findall(text)) > sum(len(_any.findall(command)) for command in found):
            wrong.append(f"{where}: neither quoted nor alone: {text!r}")
    assert not wrong, "\n".join(wrong)
    assert judged > 50


def _examples() -> Iterator[str]:
    """Yield the commands that the helps show."""
    first = [main.get_command(click.Context(main), name) for name in main.list_commands(click.Context(main))]
    groups = [command for command in first if isinstance(command, click.Group)]
    for command in [*(command for _, command in commands()), *groups]:
        lines = (line.strip() for line in (command.epilog or "").splitlines())
        yield from (line for line in lines if line.startswith(program()))


def test_the_examples_of_each_help_are_taken_by_the_command() -> None:
    tried = 0
    for line in _examples():
        for part in line.split(" | "):
            words = shlex.split(part)[len(shlex.split(program())) :]
            context = click.Context(main)
            found: click.Command = main
            while isinstance(found, click.Group):
                inner = found.get_command(context, words[0])
                assert inner is not None, line
                found, words = inner, words[1:]
            with found.make_context("x", words):
                tried += 1
    assert tried > 8


@pytest.mark.slow
def test_the_examples_of_metrics_and_report_run(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00")
    # Setting a page takes longer than all the others, and tests of reports do.
    ran = [line for line in _examples() if re.search(" metrics | report .*xlsx", line)]
    for line in ran:
        result = CliRunner().invoke(main, shlex.split(line)[len(shlex.split(program())) :])
        assert result.exit_code == 0, (line, result.output)
    assert len(ran) > 3


def test_commands_are_printed_by_the_path_where_the_path_variable_leads_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = Path(sys.executable).parent / NAME
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    program.cache_clear()
    try:
        assert beside.exists()
        assert program() == str(beside)
        said = as_called(f"run '{NAME} db migrate', {NAME}, /x/{NAME} db, analytics-pipeline@localhost")
        assert said == f"run '{beside} db migrate', {NAME}, /x/{NAME} db, {NAME}@localhost"
        assert f"  {beside} close" in examples("close")
        monkeypatch.chdir(beside.parent.parent)
        program.cache_clear()
        assert program() == f"bin/{NAME}"
        monkeypatch.setenv("PATH", str(beside.parent))
        program.cache_clear()
        assert program() == NAME
    finally:
        program.cache_clear()


def test_env_puts_the_command_on_the_path_and_stops_where_there_is_no_storage(
    tmp_path: Path, environment: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    environment.setenv("ANALYTICS_HOME", str(tmp_path / "home"))
    environment.setenv("DAGSTER_POSTGRES_URL", empty_database_url)
    environment.delenv("DAGSTER_HOME", raising=False)
    environment.setenv("PATH", "/usr/bin:/bin")
    get_settings.cache_clear()
    program.cache_clear()
    try:
        printed = CliRunner().invoke(main, ["env"])
    finally:
        program.cache_clear()
    assert printed.exit_code == 0
    script = f'{printed.stdout}command -v {NAME}; echo "$DAGSTER_HOME"'
    shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert shell.stdout.split() == [str(Path(sys.executable).parent / NAME), str(tmp_path / "home" / "dagster")]
    environment.setenv("DAGSTER_POSTGRES_URL", "postgresql://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    refused = CliRunner().invoke(main, ["env"])
    assert (refused.exit_code, refused.stdout) == (1, "false\n")
    assert refused.stderr.startswith("Error: Can't connect to Dagster's storage 127.0.0.1:1/none: ")
    assert refused.stderr.count("\n") == 1
