"""The runbook: it names every check, and every command in it does what it is there for.

The usual run reads the commands, ``make test-faults`` executes them.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster import DagsterInstance

from analytics_pipeline.cli import main
from analytics_pipeline.embedded import EmbeddedPostgres
from analytics_pipeline.health.checks import all_checks
from analytics_pipeline.operations.places import list_backups
from analytics_pipeline.orchestration.closing.jobs import WINDOW_CHECK
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.erp.example import example_erp, invoice
from analytics_pipeline_tests.events.sample_records import json_lines, payment
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.messages.sample_messages import put
from analytics_pipeline_tests.operations.conftest import PG_BIN, why_no_dump
from analytics_pipeline_tests.test_printed_commands import problem_of

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
# Inline, in a line of a block, or in one that shows what it prints.
_COMMAND = re.compile(r"`(analytics-pipeline [^`]+)`|^ *(?:\$ )?(analytics-pipeline [^#\n]+)", re.MULTILINE)
# Executed by tests of their own: in the foreground until it is stopped; into an empty database.
ELSEWHERE = {"analytics-pipeline up": "test_up.py", "analytics-pipeline restore BACKUP": "operations"}
# What doctor and Dagster judge besides the checks of one asset.
FURTHER = {
    "connection", "migrations", "storage", "dead_runs", "function_access", "server_settings", "disk_space", "alerts",
    "no_failed_partitions", "partitions_recorded", "newest_backup_restores", "mailed_documents_current",
    "mail_delivered", "control_totals", "no_restatements", WINDOW_CHECK,
}  # fmt: skip
# It compares: that something differs is an answer.
DIFFERS = 3


def commands() -> list[str]:
    """Return every command of the page once, in order, with the dates filled in that only its reader knows."""
    found = (
        next(filter(None, match.groups())).strip() for match in _COMMAND.finditer(PAGE.read_text(encoding="utf-8"))
    )
    dated = (text.replace("--start ... --end ...", "--start 2025-01-05 --end 2025-01-06") for text in found)
    return list(dict.fromkeys(dated))


def test_the_runbook_has_every_check() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## Checks that fail\n")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`[^|]+)\|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == {check.name for check in all_checks()} | FURTHER


def test_a_command_of_the_runbook_can_be_called_as_it_stands() -> None:
    wrong = [f"{command}: {problem}" for command in commands() if (problem := problem_of(command)) is not None]
    assert wrong == []
    assert len(commands()) > 40


@pytest.fixture
def prepared(
    database: Database, instance: DagsterInstance, storage_home: Path, environment: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """A month of events, an ERP, a message that may have arrived, and files; returns what stands for what."""
    (tmp_path / "events.jsonl").write_text(json_lines([payment()]))
    (tmp_path / "rates.csv").write_text("rate_date,base,quote,rate\n2025-01-03,EUR,USD,1.03\n")
    (tmp_path / "totals.csv").write_text("company,day,currency,count,sum\nacme,2025-01-05,EUR,1,10.00\n")
    (tmp_path / "exports").mkdir()
    with database.connect(autocommit=True) as connection:
        for day in range(1, 32):
            add_event(connection, f"2025-01-{day:02}T12:00")
        put(connection)
        connection.execute("UPDATE analytics_outbox SET state = 'unknown', attempts = 1")
        (message,) = connection.execute("SELECT outbox_id FROM analytics_outbox").fetchone() or (None,)
    with example_erp(EmbeddedPostgres(storage_home).url) as erp:
        erp.execute(invoice("A-1"))
        environment.setenv("ANALYTICS_ERP_URL", erp.url)
        environment.setenv("ANALYTICS_PG_BIN", PG_BIN)
        environment.setenv("ANALYTICS_SMTP_URL", (tmp_path / "spool").as_uri())
        get_settings.cache_clear()
        yield {
            "ingest": str(tmp_path / "events.jsonl"),
            "reconcile": str(tmp_path / "totals.csv"),
            "fx": str(tmp_path / "rates.csv"),
            "place": str(tmp_path / "place"),
            "exports": str(tmp_path / "exports"),
            "message": str(message),
        }


@pytest.mark.faults
@pytest.mark.endurance
def test_every_command_of_the_runbook_does_what_it_is_there_for(
    prepared: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, ran = [], 0
    # A backup before what is done with one.
    for command in sorted(commands(), key=lambda text: " backup " not in text):
        if command in ELSEWHERE or (" backup PLACE" in command and why_no_dump()):
            continue
        if " db psql" in command:
            # The process becomes the shell.
            if shutil.which("psql") is not None:
                words = [sys.executable, "-m", "analytics_pipeline", *shlex.split(command)[1:]]
                subprocess.run(words, check=True, capture_output=True)
                ran += 1
            continue
        if "BACKUP" in command and not list_backups(prepared["place"]):
            continue
        words = shlex.split(_filled_in(command, prepared))[1:]
        # Who is asked answers yes.
        result = CliRunner().invoke(main, words, input="y\n" * 3)
        ran += 1
        if result.exit_code and not (words[0] == "reconcile" and result.exit_code == DIFFERS):
            # What it finds of this sample is no error of the command.
            if words[0] == "doctor" and not isinstance(result.exception, Exception):
                continue
            wrong.append(f"{command}: status {result.exit_code}: {result.output[-300:]} {result.exception!r}")
    assert wrong == []
    assert ran > 35


def _filled_in(command: str, prepared: dict[str, str]) -> str:
    first = command.split()[1]
    exports = list_backups(prepared["exports"])
    backups = list_backups(prepared["place"])
    for name, value in {
        "FILE": prepared.get(first, ""),
        "rates.csv": prepared["fx"],
        "PLACE": prepared["place"],
        "BACKUP": backups[0].location if backups else "",
        "ID": prepared["message"],
        "/mnt/exports/events-20260131T100000Z": exports[0].location if exports else "",
        "/mnt/exports": prepared["exports"],
    }.items():
        command = re.sub(rf"(?<![\w/]){re.escape(name)}(?!\w)", shlex.quote(value).replace("\\", r"\\"), command)
    asks = ("db compress", "db decompress", "db policies --compress-after", "prune ")
    return f"{command} --yes" if any(f"{NAME} {words}" in command for words in asks) else command


NAME = "analytics-pipeline"
