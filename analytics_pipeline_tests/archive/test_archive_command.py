"""``analytics-pipeline archive`` and the asset ``event_archive``: what they say, and when nothing may be dropped."""

import json
import re
import shlex
from decimal import Decimal, localcontext
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dagster import DagsterInstance

from analytics_pipeline.cli import main
from analytics_pipeline.database import migrate
from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.health.contradictions import events_contradicted
from analytics_pipeline.health.policies import retention_policy
from analytics_pipeline.orchestration.event_archive import JOB
from analytics_pipeline.timescale.policies import RETENTION, change_policies, read_policies
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.archive.conftest import JANUARY_CHUNK, STRADDLING_CHUNK, Archived, add_exact_event
from analytics_pipeline_tests.events.sample_records import json_lines, payment
from analytics_pipeline_tests.events_factory import at
from analytics_pipeline_tests.metrics.closing import close_inputs


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["archive", *arguments])


@pytest.mark.slow
def test_months_come_back_and_go_by_commands(expired: Archived) -> None:
    assert _call("status").output.startswith("This database has no archive: will begin at ")
    run = _call("run")
    assert "2 chunks are in the archive at" in run.output
    assert "4 events written; 2 chunks dropped, 0 held, 0 left" in run.output
    restored = _call("restore", "--start", "2023-01-14", "--end", "2023-01-20").output
    assert "Whole months are brought back: [2023-01-01T00:00Z, 2023-02-01T00:00Z)" in restored
    assert "analytics-pipeline close --start 2023-01-01T00:00 --end 2023-02-01T00:00" in restored
    status = json.loads(_call("status", "--json").stdout)
    assert (status["events"], status["chunksHeld"], status["lateEvents"]) == (4, 2, 0)
    assert [hold["start"] for hold in status["holds"]] == ["2023-01-01T00:00:00Z"]
    assert "2 ranges hold what was proved, 4 events" in _call("verify").output
    assert "released [2023-01-01T00:00Z, 2023-02-01T00:00Z)" in _call("release").output
    assert "0 events written; 2 chunks dropped" in _call("run").output


def test_what_can_t_be_is_said_in_one_line(expired: Archived) -> None:
    for arguments, status, said in (
        (("restore",), 2, "Give the span: --month 2025-01, or both --start and --end"),
        (("restore", "--month", "2023-01"), 1, "This database has no archive: nothing can be brought back"),
        (("verify",), 1, "This database has no archive: there is nothing to verify"),
        (("verify", "--start", "2023-02-01", "--end", "2023-01-01"), 2, "must come after --start"),
        (("release",), 1, "Nothing is held: there is nothing to release"),
    ):
        result = _call(*arguments)
        assert (result.exit_code, len(result.stderr.splitlines())) == (status, 1)
        assert said in result.stderr


@pytest.mark.slow
def test_files_that_are_missing_or_damaged_are_named_with_their_ranges_and_the_others_are_read(
    expired: Archived,
) -> None:
    add_exact_event(expired.connection, "2023-03-20", 3)
    expired.run()
    # In the order in which they were written; the second chunk has two.
    files = sorted(map(Path, expired.archive().files), key=lambda file: file.stat().st_mtime_ns)
    damaged = next(file for file in files if file.parent.name == "month=2023-01")
    missing = next(file for file in files if file.parent.name == "month=2023-02")
    copies = {file: file.read_bytes() for file in (damaged, missing)}
    damaged.write_bytes(copies[damaged][:100])
    missing.unlink()
    late_id = add_exact_event(expired.connection, "2023-01-13T08:00", 7)

    result = _call("verify")
    assert result.exit_code == 1
    differences = [line for line in result.stdout.splitlines() if line.startswith("DIFFERS")]
    named = [(JANUARY_CHUNK, damaged, "can't be read: "), (STRADDLING_CHUNK, missing, "is missing")]
    for line, (window, file, reason) in zip(differences, named, strict=True):
        assert f"{window} can't be read whole. The file {file.parent.name}/{file.name} of the archive at " in line
        assert reason in line
        assert line.endswith("Bring that file back from a copy of the archive.")
    assert "1 ranges hold what was proved, 1 events" in result.stdout
    # The run goes on with the others, too.
    add_exact_event(expired.connection, "2023-03-21", 4)
    run = expired.run()
    assert ([str(window) for window in run.dropped], len(run.problems)) == (
        ["[2023-03-16T00:00Z, 2023-03-23T00:00Z)"],
        1,
    )
    assert damaged.name in run.problems[0]
    refused = _call("restore", "--month", "2023-01")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (1, 1)
    for part in (
        f"{JANUARY_CHUNK} can't be brought back. The file month=2023-01/{damaged.name}",
        "Bring that file back",
    ):
        assert part in refused.stderr
    for file, content in copies.items():
        file.write_bytes(content)
    assert _call("verify").exit_code == 0
    assert _call("restore", "--month", "2023-01").exit_code == 0
    assert late_id in {row[0] for row in expired.stored(JANUARY_CHUNK)}


@pytest.mark.slow
def test_a_record_that_contradicts_an_archived_event_replaces_it_by_the_commands_of_the_check(
    expired: Archived, tmp_path: Path
) -> None:
    expired.run()
    event_id = next(row[0] for row in expired.archived() if row[1] == "2023-01-15T10:20:00+00:00")
    path = tmp_path / "later.jsonl"
    path.write_text(json_lines([payment(event_id=event_id, timestamp="2023-01-15T10:20:00Z", value="2.50")]))
    assert CliRunner().invoke(main, ["ingest", str(path)]).exit_code == 0
    expired.run()
    finding = events_contradicted(expired.connection, expired.settings)
    restore, keep = finding.remedies
    said = [restore, *re.findall(r"'(analytics-pipeline [^']*)'", finding.summary)]
    assert said == [
        "analytics-pipeline archive restore --month 2023-01",
        "analytics-pipeline ingest --on-conflict replace FILE",
        "analytics-pipeline close --start 2023-01-01T00:00 --end 2023-02-01T00:00",
        "analytics-pipeline archive release",
    ]
    assert f"event_id = '{event_id}'" in keep
    for command in said:
        words = shlex.split(command.replace("FILE", str(path)))[1:]
        if words[0] == "close":
            close_inputs(expired.connection, Window(at("2023-01-01"), at("2023-02-01")))
        else:
            result = CliRunner().invoke(main, words)
            assert result.exit_code == 0, result.output
    expired.run()
    assert [row[7] for row in expired.archived() if row[0] == event_id] == ["2.50"]
    assert events_contradicted(expired.connection, expired.settings).passed
    query = "SELECT total_value FROM analytics_revenue_monthly WHERE bucket = '2023-01-01Z'"
    with localcontext(prec=100):
        january = sum(Decimal(row[7]) for row in expired.archived() if row[1] < "2023-02")
    assert expired.connection.execute(query).fetchall() == [(january,)]


def test_the_command_says_that_it_drops_nothing_without_the_setting(expired: Archived) -> None:
    expired.run()
    expired.place(None)
    add_exact_event(expired.connection, "2023-02-10", 5)
    result = _call("run")
    assert result.exit_code == 1
    assert "Nothing is dropped" in result.output
    assert len(expired.chunks()) == 2
    problem = retention_policy(expired.connection, expired.settings)
    assert not problem.passed
    assert "ANALYTICS_ARCHIVE names no place here, so nothing is dropped: set it" in problem.summary


@pytest.mark.slow
def test_policies_stay_as_an_archive_wants_them_whoever_changes_or_migrates(expired: Archived) -> None:
    begun = "from now on before they are dropped"
    assert [sum(begun in note for note in migrate(expired.settings).notes) for _ in range(2)] == [1, 0]
    for retention in ("3 years", "never", "2 years"):
        change_policies(expired.connection, server_info(expired.connection), {"retention": retention})
        found = [p.scheduled for p in read_policies(expired.connection) if p.procedure == RETENTION]
        assert found == ([] if retention == "never" else [False])
    job = "SELECT alter_job(job_id, scheduled => true) FROM timescaledb_information.jobs WHERE proc_name = %s"
    expired.connection.execute(job, [RETENTION])
    assert (
        "is scheduled, and would drop what no archive holds"
        in retention_policy(expired.connection, expired.settings).summary
    )
    shown = CliRunner().invoke(main, ["db", "policies", "--apply", "--yes"])
    assert "policy_retention on analytics_events: scheduled = False" in shown.output
    assert "DROPS" not in shown.output
    assert "not by the retention policy" in CliRunner().invoke(main, ["db", "policies"]).output


@pytest.mark.slow
def test_dagster_archives_and_drops_and_says_why_it_does_not(expired: Archived) -> None:
    found = _materialize(expired)
    assert (found["events written"], found["chunks dropped"], found["events in the archive"]) == (4, 2, 4)
    add_exact_event(expired.connection, "2023-01-13T08:00", 7)
    found = _materialize(expired)
    assert (found["late events of this run"], found["late events so far"]) == (1, 1)
    add_exact_event(expired.connection, "2023-02-10", 5)
    expired.place(None)
    found = _materialize(expired)
    assert found["chunks dropped"] == 0
    assert found["expired chunks waiting"] == 1
    assert "ANALYTICS_ARCHIVE names no place here" in str(found["done"])


def _materialize(expired: Archived) -> dict[str, object]:
    with DagsterInstance.ephemeral() as instance:
        job = build_definitions(expired.settings).resolve_job_def(JOB)
        (event,) = job.execute_in_process(instance=instance).get_asset_materialization_events()
    return {name: entry.value for name, entry in event.materialization.metadata.items()}
