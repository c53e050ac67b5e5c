"""Commands that nobody meant: each is one clear line and a status that says so, and no database is touched.

The usual run makes do with a sample; ``make test-faults`` calls 10,000.
"""

import random
from collections import Counter
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.command_tree import commands, required
from analytics_pipeline_tests.events.test_mutated_files import TEXTS

RUNNER = CliRunner()
NOWHERE = "postgresql://someone:hunter2@127.0.0.1:1/books"
# What an argument can be: no NUL, and of half characters those that stand for bytes which are no text.
HOSTILE = (
    *(text for text in TEXTS if "\0" not in text and text != "\ud800"),
    "--", "-", "--help=x", "-x", "--no-such", "\x1b[31m", "a\nb", "%s", "{}", "$(id)", "'", '"', "\\", "9" * 20,
    "2025-01", "2025-02-30", "9999-12-31", "--start", "--json", "/no/such/file", "..", "\udcff",
)  # fmt: skip
# They go on without a database, print what others answer, or begin something at once.
LEFT_OUT = {("db", "psql"), ("db", "start"), ("db", "stop"), ("demo",), ("sample",), ("serve",), ("up",), ("env",)}
# What they find is no error of theirs: they print a line for each.
MANY_LINES = {("doctor",), ("alerts", "check")}


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing can be reached, so that what is taken for a command after all does nothing."""
    for name, value in {
        "ANALYTICS_DATABASE_URL": NOWHERE,
        "DAGSTER_POSTGRES_URL": NOWHERE,
        "ANALYTICS_HOME": str(tmp_path / "home"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("dagster_postgres.utils.calculate_delay", lambda **_: 0.001)
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()


def call_malformed(calls: int) -> None:
    known = [(path, command) for path, command in commands() if path not in LEFT_OUT]
    statuses: Counter[int] = Counter()
    wrong = []
    for number in range(calls):
        rng = random.Random(number)  # noqa: S311
        path, command = rng.choice(known)
        arguments = malformed(rng, command)
        get_settings.cache_clear()
        result = RUNNER.invoke(main, [*path, *arguments])
        statuses[result.exit_code] += 1
        if (why := problem(path, result)) is not None:
            wrong.append(f"{number}: {path} {arguments}: {why}")
    print(f"\n{calls} calls: statuses {dict(statuses)}")  # noqa: T201 - what it came to, with -s
    assert not wrong, "\n".join(wrong[:20])
    assert statuses[2] > calls / 3


def malformed(rng: random.Random, command: click.Command) -> list[str]:
    """Return arguments that a command takes, with some of them replaced, left out or added."""
    arguments = required(command)
    for _ in range(rng.choice((1, 1, 2, 3))):
        parameter = rng.choice(command.params) if command.params else None
        value = rng.choice(HOSTILE)
        place = rng.randrange(len(arguments) + 1)
        match rng.randrange(4):
            case 0 if arguments:
                arguments[place - 1] = value
            case 1 if arguments:
                del arguments[place - 1]
            case 2:
                arguments.insert(place, value)
            case _ if isinstance(parameter, click.Option):
                arguments[place:place] = [parameter.opts[0]] if parameter.is_flag else [parameter.opts[0], value]
            case _:
                arguments.insert(place, value)
    return arguments


def problem(path: tuple[str, ...], result: Result) -> str | None:
    """Return what makes of an answer more than one clear line."""
    if not isinstance(result.exception, SystemExit | None):
        return repr(result.exception)
    if any(word in result.output for word in ("Traceback", "\x1b", "hunter2")):
        return f"it shows too much: {result.output[:300]}"
    if path in MANY_LINES and result.exit_code == 1:
        return None
    if result.exit_code not in (0, 1, 2) or (result.exit_code and result.stderr.count("\n") != 1):
        return f"status {result.exit_code}: {result.stderr[:300]}"
    return None


@pytest.mark.fuzz
def test_malformed_commands_are_one_clear_line() -> None:
    call_malformed(250)


@pytest.mark.fuzz
@pytest.mark.faults
@pytest.mark.endurance
def test_ten_thousand_malformed_commands_are_one_clear_line() -> None:
    call_malformed(10_000)
