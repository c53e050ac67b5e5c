"""Bad input is one clear line that names the input and the remedy, whatever the command and whatever the option."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.cli.dates import DAY, INSTANT, MONTH, TIME_OF_DAY
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.command_tree import before, commands, parameter_names, required
from analytics_pipeline_tests.conftest import Database

NOWHERE = "postgresql://someone:hunter2@127.0.0.1:1/books"
HOSTILE = "no\x1b[31m\nsuch"
# Of what would be made, or waited for, with that name.
INSTEAD: dict[tuple[str, ...], str] = {
    ("backup", "place"): "nosuch://place",
    ("sample", "output"): "/no/such/folder/events.jsonl",
}
# Its arguments are those of psql, which answers them.
OF_PSQL = ("db", "psql")
# What they do without a database, and what else gets them as far as to one.
WITHOUT_DATABASE = {("sample",), ("db", "stop")}
FURTHER: dict[tuple[str, ...], Sequence[str]] = {
    ("access", "confirm"): ["--all"],
    ("access", "grant"): ["--all-companies"],
    ("access", "revoke"): ["--all-companies"],
    ("close",): ["--month", "2025-01"],
    ("companies", "set"): ["--test"],
    ("db", "compress"): ["--month", "2025-01"],
    ("db", "decompress"): ["--month", "2025-01"],
    ("db", "explain"): ["event_chunks"],
    ("db", "refresh"): ["--month", "2025-01"],
    ("outbox", "resend"): ["--outdated"],
    ("recipients", "add"): ["--all-companies"],
    ("recipients", "remove"): ["--all-companies"],
    ("sample",): ["--months", "1", "--companies", "1", "--scale", "0.001"],
    ("sources", "accept"): ["--all"],
    ("token", "create"): ["--operator"],
}
# It goes on without a database, and says so at /readyz.
SERVES = ("serve",)


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def _bad_values(parameter: click.Parameter) -> Iterator[str]:
    """Yield what a parameter can't be by its type; nothing for a text."""
    kind = parameter.type
    if isinstance(kind, click.Choice):
        yield from ("no-such", "")
    elif isinstance(kind, click.IntRange):
        yield from ("x", "1.5", "")
        yield from (str(limit + step) for limit, step in ((kind.min, -1), (kind.max, 1)) if limit is not None)
    elif isinstance(kind, click.types.IntParamType):
        yield from ("x", "1.5")
    elif isinstance(kind, click.types.FloatParamType):
        yield from ("x", "nan", "inf", "0", "-1")
    elif kind in {DAY, MONTH, INSTANT, TIME_OF_DAY} or kind.name == "time":
        yield from ("yesterday", "31.1.2025", "2025-13-01", "2025-02-30", "2025-1-1", "20250101", "")
        yield from ("\uff12\uff10\uff12\uff15-01-01", "2025-01-01T25:00", "0001-01-01T00:00+23:00", "24:00", HOSTILE)
    elif isinstance(kind, click.Path):
        yield "/no/such/file" if kind.exists else "."
    elif isinstance(kind, click.File):
        yield "/no/such/file"
    elif isinstance(parameter, click.Option) and parameter.is_flag:
        pass
    else:
        # Of a type that this test doesn't know: the name says which.
        assert kind in {click.STRING, click.UNPROCESSED}, kind


def _faults(result: Result) -> list[str]:
    """Return what makes of an answer more than one clear line."""
    faults = [repr(result.exception)] if not isinstance(result.exception, SystemExit | None) else []
    if result.stderr.count("\n") != 1 or not result.stderr.startswith("Error: "):
        faults.append(f"{result.stderr.count(chr(10))} lines: {result.stderr[:500]}")
    faults += [word for word in ("Traceback", "pydantic", "\x1b", "hunter2") if word in result.output]
    return faults


def test_a_value_that_an_option_can_t_have_is_one_line_that_names_it_and_status_2() -> None:
    wrong, tried = [], 0
    for path, command in commands():
        for parameter in command.params:
            for value in _bad_values(parameter):
                given = [parameter.opts[0], value] if isinstance(parameter, click.Option) else [value]
                place = before(command, parameter) if isinstance(parameter, click.Argument) else []
                result = _call(*path, *place, *given)
                faults = _faults(result)
                if result.exit_code != 2:
                    faults.append(f"status {result.exit_code}")
                if not any(name and name in result.stderr for name in parameter_names(parameter)):
                    faults.append("the option is not named")
                if f"{' '.join(path)} --help" not in result.stderr:
                    faults.append("the help is not named")
                wrong += [f"{path} {given}: {fault}" for fault in faults]
                tried += 1
    assert not wrong, "\n".join(wrong)
    assert tried > 150


def test_an_option_that_is_not_there_and_one_that_is_missing_are_one_line_and_status_2() -> None:
    wrong = []
    for path, command in commands():
        tries = [] if path == OF_PSQL else [["--no-such-option"], *([["x"] * 9] if not _is_variadic(command) else [])]
        tries += [[]] if required(command) else []
        tries += [[f"{flag}=x"] for flag in _flags(command)]
        for arguments in tries:
            result = _call(*path, *arguments)
            faults = _faults(result) + ([f"status {result.exit_code}"] if result.exit_code != 2 else [])
            wrong += [f"{path} {arguments}: {fault}" for fault in faults]
    assert not wrong, "\n".join(wrong)
    for arguments in (["no-such"], ["metrics", "no-such"], ["--no-such"]):
        assert _faults(_call(*arguments)) == []


def _is_variadic(command: click.Command) -> bool:
    return any(parameter.nargs == -1 for parameter in command.params)


def _flags(command: click.Command) -> list[str]:
    return [p.opts[0] for p in command.params if isinstance(p, click.Option) and p.is_flag]


@pytest.mark.slow
def test_a_text_that_names_nothing_is_answered_in_a_line(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = []
    for path, command in commands():
        if path == OF_PSQL:
            continue
        for parameter in command.params:
            if parameter.type is not click.STRING:
                continue
            value = INSTEAD.get((*path, str(parameter.name)), HOSTILE)
            if isinstance(parameter, click.Argument):
                given, rest = [*before(command, parameter), value], []
            else:
                given, rest = [parameter.opts[0], value], required(command, but=parameter)
            result = _call(*path, *given, *rest)
            # Some ask for nothing that has to be there.
            faults = _faults(result) if result.exit_code else [result.output] * (result.output.count("\n") > 1)
            wrong += [f"{path} {given}: {fault}" for fault in faults]
    assert not wrong, "\n".join(wrong)


def test_databases_that_can_t_be_reached_are_one_line_of_every_command(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("ANALYTICS_HOME", str(tmp_path / "home"))
    environment.setenv("ANALYTICS_DATABASE_URL", NOWHERE)
    environment.setenv("DAGSTER_POSTGRES_URL", NOWHERE)
    environment.setattr("dagster_postgres.utils.calculate_delay", lambda **_: 0.02)
    environment.chdir(tmp_path)
    events = tmp_path / "events.jsonl"
    events.touch()
    wrong = []
    for path, command in commands():
        if path in {OF_PSQL, SERVES}:
            continue
        get_settings.cache_clear()
        further = ["--events", str(events)] if path == ("demo",) else FURTHER.get(path, [])
        arguments = [str(events) if argument == "x" else argument for argument in required(command)]
        result = _call(*path, *arguments, *further)
        if path in WITHOUT_DATABASE:
            faults = [result.stderr] if result.exit_code else []
        elif path == ("doctor",):
            # It prints a finding a line.
            faults = [] if result.exit_code == 1 and "127.0.0.1:1/books" in result.stdout else [result.output]
        else:
            faults = _faults(result)
        wrong += [f"{path}: {fault}" for fault in faults]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["outbox", "retry", "4711"], "there is no message 4711"),
        (["outbox", "discard", "4711", "4712"], "there is no message 4711"),
        (["access", "grant", "nobody_here", "--all-companies"], "There is no role nobody_here"),
        (["alerts", "test", "nothing"], "There is no rule 'nothing'"),
        (["token", "revoke", "t0"], "There is no token t0"),
        (["sources", "rejects", "nothing"], "There is no source 'nothing'"),
        (["sources", "accept", "nothing", "--all"], "There is no source 'nothing'"),
        (["metrics", "revenue", "--currency", "XXQ"], "'XXQ' is unknown"),
        (["metrics", "revenue", "--start", "2025-02-01"], "Give both --start and --end"),
        (["report", "--month", "2025-01", "--start", "2025-01-01"], "either --month, or --start and --end"),
        (["close", "--month", "2025-01", "--end", "2025-02-01"], "either --month, or --start and --end"),
        (["close"], "--month 2025-01, or both --start and --end"),
    ],
)
def test_a_name_that_nobody_knows_is_said_with_status_2(database: Database, arguments: list[str], message: str) -> None:
    result = _call(*arguments)
    assert _faults(result) == []
    assert message in result.stderr
    assert result.exit_code == 2


def test_dates_are_written_by_one_rule_in_every_command() -> None:
    """An option that takes a date has one of our types, and its help an example that it takes."""
    found = []
    for path, command in commands():
        for parameter in command.params:
            if not isinstance(parameter, click.Option):
                continue
            assert not isinstance(parameter.type, click.DateTime), (path, parameter.name)
            if parameter.type in {DAY, MONTH, INSTANT, TIME_OF_DAY}:
                examples = re.findall(r"\d{4}-[\dT:+-]*\d|\d\d:\d\d", str(parameter.help))
                assert examples, (path, parameter.name)
                for example in examples:
                    parameter.type.convert(example, parameter, None)
                found.append((*path, parameter.name))
    assert {("close", "start"), ("metrics", "users", "month"), ("report", "end"), ("fx", "show", "day")} <= {*found}


@pytest.mark.parametrize(
    "arguments",
    [
        ("close", "--month", "9999-12"),
        ("close", "--start", "2026-01-01", "--end", "9999-12-31", "--dry-run"),
        ("db", "compress", "--month", "9999-12"),
        ("db", "refresh", "analytics_revenue_monthly", "--start", "2026-01-01", "--end", "9999-12-31"),
        ("metrics", "revenue", "--month", "9999-12"),
        ("report", "--month", "9999-12"),
    ],
)
def test_what_ends_after_the_last_year_is_one_line(arguments: Sequence[str]) -> None:
    result = _call(*arguments)
    assert result.exit_code == 2
    assert (
        f"'{'9999-12' if '--month' in arguments else '9999-12-31'}' is too late: choose an earlier year."
        in result.output
    )
    assert result.output.count("\n") == 1
