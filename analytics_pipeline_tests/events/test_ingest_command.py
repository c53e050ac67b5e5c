"""The commands say what happened, in figures and in their exit status."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from analytics_pipeline.cli.ingest import SOME_REJECTED, ingest, record
from analytics_pipeline.embedded import EmbeddedTimescale
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.bulk_load import BATCH_EVENTS
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.timescale.connection import fetch_row
from analytics_pipeline_tests.commands import is_waiting, locked, running
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment

RUNNER = CliRunner()


@pytest.mark.faults
def test_a_signal_ends_ingest_and_what_is_committed_stays(database: Database, embedded_home: Path) -> None:
    with (
        database.connect(autocommit=True) as connection,
        running("ingest", "-", "--format", "jsonl", stdin=subprocess.PIPE) as command,
    ):

        def send(events: int) -> None:
            assert command.process.stdin is not None
            command.process.stdin.write(json_lines(payment() for _ in range(events)).encode())
            command.process.stdin.flush()

        def stored() -> int:
            return int(fetch_row(connection, "SELECT count(*) FROM analytics_events")[0])

        # More than a batch: what is read ahead has to be there.
        send(BATCH_EVENTS + 5_000)
        command.until(lambda: stored() == BATCH_EVENTS)
        with locked(connection, "analytics_events"):
            send(BATCH_EVENTS)
            command.until(lambda: is_waiting(connection) if SERVER_URL else _clients_wait(embedded_home))
            command.send(signal.SIGTERM)
            code, _, said = command.result()
        assert (code, said.splitlines()[-1]) == (
            143,
            "SIGTERM: 20,000 records are read and stay stored, 20,000 of them new, 0 rejected; run the same command "
            "again for the rest.",
        )
        assert stored() == BATCH_EVENTS


def _clients_wait(embedded_home: Path) -> bool:
    return bool(EmbeddedTimescale(embedded_home).status().waiting)


def test_ingest_prints_a_summary_and_succeeds(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json_lines(payment() for _ in range(1_234)))
    result = RUNNER.invoke(ingest, [str(path)], catch_exceptions=False)
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    for part in ("read 1,234", "new 1,234", "already there 0", "rejected 0", "time span 2025-01-31T23:59:59Z to"):
        assert part in words


def test_ingest_reads_standard_input_and_shows_rejects_by_its_status(database: Database, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    result = RUNNER.invoke(
        ingest,
        ["-", "--format", "jsonl", "--rejects", str(rejects), "--json"],
        input=json_lines([payment(), payment(value="x")]),
        catch_exceptions=False,
    )
    assert result.exit_code == SOME_REJECTED
    figures = json.loads(result.stdout)
    assert (figures["read"], figures["new"], figures["alreadyThere"], figures["rejected"]) == (2, 1, 0, 1)
    assert figures["reasons"] == {"value is not a number": 1}
    assert figures["rejects"] == str(rejects)
    assert json.loads(rejects.read_text())["source"] == "standard input"


def test_ingest_names_the_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AnalyticsError, match="is not a file"):
        RUNNER.invoke(ingest, [str(tmp_path / "gone.jsonl")], catch_exceptions=False)


def test_rejects_go_to_the_home_folder_by_default(
    database: Database, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("no\n")
    result = RUNNER.invoke(ingest, [str(path), "--json"], catch_exceptions=False)
    kept = Path(json.loads(result.stdout)["rejects"])
    assert kept.parent == database.settings.home / "rejects"
    assert kept.is_file()


def test_record_stores_one_event_and_shows_a_repetition(database: Database) -> None:
    arguments = ["acme", "--user", "u1", "--type", "payment.refunded", "--category", "revenue", "--value", "-1.10"]
    arguments += ["--currency", "EUR", "--metadata", '{"n": 1.10}', "--json"]
    first = json.loads(RUNNER.invoke(record, arguments, catch_exceptions=False).stdout)
    assert first["new"] is True
    arguments += ["--event-id", first["event_id"], "--timestamp", first["timestamp"]]
    again = json.loads(RUNNER.invoke(record, arguments, catch_exceptions=False).stdout)
    assert again == {**first, "new": False}
    with database.connect() as connection:
        rows = connection.execute("SELECT company_id, value::text, metadata::text FROM analytics_events").fetchall()
    assert rows == [("acme", "-1.10", '{"n": 1.10}')]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--value", "1"], "has no currency"),
        (["--value", "1", "--currency", "EUR", "--metadata", "[1]"], "not a JSON object"),
        (["--value", "1", "--currency", "EUR", "--metadata", "{"], "not JSON"),
        (["--value", "1", "--currency", "EUR", "--timestamp", "2025-01-01"], "no time zone"),
    ],
)
def test_record_refuses_bad_input_in_one_sentence(options: list[str], words: str) -> None:
    with pytest.raises(AnalyticsError, match=words):
        RUNNER.invoke(
            record,
            ["acme", "--type", "payment.received", "--category", "revenue", *options],
            catch_exceptions=False,
        )


def test_a_rejected_event_is_an_error_of_the_user() -> None:
    assert issubclass(RejectedEvent, AnalyticsError)


@pytest.mark.parametrize("command", [ingest, record])
def test_help_names_every_option(command: object) -> None:
    result = RUNNER.invoke(command, ["--help"])  # type: ignore[arg-type]
    assert result.exit_code == 0
    assert "--json" in result.stdout
