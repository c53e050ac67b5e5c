"""The command as a user meets it: help, clear errors, exit status, JSON."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from pypdf import PdfReader

from analytics_pipeline.cli import main
from analytics_pipeline_tests.commands import running
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event

PUBLIC_COMMANDS = ["demo", "up", "db", "ingest", "record", "close", "metrics", "report", "sample", "env"]
PUBLIC_COMMANDS += ["recipients", "outbox"]


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("command", PUBLIC_COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = _call(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_metrics_as_json_are_exact_strings(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00", value="10.10")
        add_event(connection, "2025-01-06T12:00", value="0.20")
    result = _call("metrics", "revenue", "--start", "2025-01-01", "--end", "2025-01-31", "--json")
    answer = json.loads(result.stdout)
    assert (answer["totalRevenue"], answer["refunds"], answer["currency"]) == ("10.30", "0.00", "EUR")
    assert (answer["averageRevenuePerUser"], answer["revenueGrowth"]) == ("10.30", None)
    assert answer["dataThrough"] == "2025-01-06T12:00:00Z"


@pytest.mark.slow
def test_metrics_as_a_table_can_be_read(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00", value="1234.5")
    assert "1,234.50" in _call("metrics", "revenue", "--start", "2025-01-01", "--end", "2025-01-31").stdout
    users = _call("metrics", "users", "--start", "2025-01-01", "--end", "2025-01-31").stdout
    assert ["activeUsers", "1"] in [line.strip("│ ").replace("│", " ").split() for line in users.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["metrics", "revenue", "--start", "2025-02-01", "--end", "2025-01-01"], "the other way round", 2),
        (["metrics", "revenue", "--start", "2025-02-01"], "Give both --start and --end", 2),
        (["metrics", "revenue", "--month", "2025-01", "--company", "\udcff"], "not UTF-8", 2),
        (["close", "--start", "2025-02-01", "--end", "2025-02-01"], "must come after --start", 2),
        (["db", "start"], "ANALYTICS_DATABASE_URL names a server of its own", 1),
    ],
)
def test_bad_input_is_one_clear_line_and_a_failure(
    environment: pytest.MonkeyPatch, arguments: list[str], message: str, status: int
) -> None:
    result = _call(*arguments)
    assert result.exit_code == status
    assert message in result.output
    assert result.output.count("\n") == 1


def test_a_database_without_the_schema_is_told_to_migrate(environment: pytest.MonkeyPatch) -> None:
    result = _call("metrics", "users")
    assert result.exit_code == 1
    assert "analytics-pipeline db migrate" in result.output


def test_an_unreachable_server_is_named_without_its_password(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ANALYTICS_DATABASE_URL", "postgresql://someone:hunter2@127.0.0.1:1/books")
    result = _call("db", "migrate")
    assert result.exit_code == 1
    assert "127.0.0.1:1/books" in result.output
    assert "hunter2" not in result.output


@pytest.mark.slow
def test_migrate_and_status_as_json(environment: pytest.MonkeyPatch) -> None:
    assert "0001_extension.sql" in json.loads(_call("db", "migrate", "--json").stdout)["applied"]
    assert json.loads(_call("db", "status", "--json").stdout)["state"] == "running"


@pytest.mark.slow
def test_the_report_command_writes_a_pdf_and_prints_its_checksum(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00")
    document = json.loads(_call("report", "--month", "2025-01", "--company", "acme", "--json").stdout)
    path = Path(document["path"])
    assert path.read_bytes().startswith(b"%PDF")
    assert path.stat().st_size == document["size"]
    assert len(document["sha256"]) == 64


@pytest.mark.daemon
def test_the_demo_twice_gives_the_same_figures(
    empty_database_url: str, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("ANALYTICS_HOME", str(tmp_path / "demo home"))
    environment.delenv("DAGSTER_POSTGRES_URL", raising=False)
    small = ["--months", "1", "--companies", "2", "--scale", "0.02"]
    command = [sys.executable, "-m", "analytics_pipeline", "demo", *small, "--yes"]
    runs = [
        subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
        for _ in range(2)
    ]
    try:
        assert [run.returncode for run in runs] == [0, 0], runs[0].stdout + runs[0].stderr + runs[1].stderr
        totals = [[line for line in run.stdout.splitlines() if line.startswith("Total ")] for run in runs]
        assert totals[0] == totals[1] != []
        assert " 0 new" in runs[1].stdout
        _require_tied_to_the_report(runs[1].stdout, tmp_path / "artifacts")
        before = runs[0].stdout.partition("ok database")[0]
        assert re.search(r"About \d+ events: it takes about \d+ s on two cores and \d+ MB of disk under", before)
        assert list((tmp_path / "artifacts").rglob("all-companies.pdf"))
    finally:
        subprocess.run([sys.executable, "-m", "analytics_pipeline", "db", "stop"], capture_output=True, check=False)


def _require_tied_to_the_report(printed: str, artifacts: Path) -> None:
    """The summary's figures of the last month are those on the first page, and what it names next can be run."""
    (path,) = re.findall(r"^Report (\S+\.pdf): ", printed, re.MULTILINE)
    assert path.startswith(str(artifacts))
    (said,) = re.findall(r"total revenue ([\d,.]+) EUR and MRR ([\d,.]+) EUR of (\d{4}-\d\d)", printed)
    month = said[2]
    rows = [line.split() for line in printed.replace("│", " ").splitlines()]
    assert [row[1:3] for row in rows if row[:1] == [month]] == [[said[0], said[1]]]
    page = " ".join(PdfReader(path).pages[0].extract_text().split())
    for name, amount in (("Total revenue", said[0]), ("MRR", said[1])):
        assert re.search(rf"\b{name}\b.{{0,20}}\b{re.escape(amount)}", page), (name, amount, page)
    steps = [shlex.split(line, comments=True) for line in printed.partition("\nNext:\n")[2].splitlines()[:3]]
    assert [step[1] for step in steps] == ["up", "metrics", "report"]
    figures, report = steps[1:]
    answer = json.loads(subprocess.run([*figures, "--json"], capture_output=True, check=True).stdout)
    assert (answer["totalRevenue"], answer["mrr"]) == tuple(amount.replace(",", "") for amount in said[:2])
    made = subprocess.run(report, capture_output=True, text=True, check=True)
    assert made.stdout.splitlines()[0].endswith(".xlsx")


@pytest.mark.faults
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_that_comes_while_the_command_is_still_being_loaded_ends_it(
    number: signal.Signals, status: int
) -> None:
    with running("metrics", "--help") as command:
        command.until(lambda: command.catches(signal.SIGTERM))
        command.send(number)
        assert command.result() == (status, "", f"{number.name}: ended before the work was complete.\n")


@pytest.mark.slow
def test_a_command_imports_its_own_module_alone() -> None:
    code = (
        "import sys; from analytics_pipeline.cli import main; main(['metrics', '--help'], standalone_mode=False); "
        "print([name for name in ('dagster', 'reportlab', 'pyarrow', 'analytics_pipeline.cli.report') "
        "if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_every_command_is_where_the_group_looks_for_it() -> None:
    context = click.Context(main)
    found = {name: main.get_command(context, name) for name in main.list_commands(context)}
    assert {name: command.name for name, command in found.items() if command} == {name: name for name in found}
