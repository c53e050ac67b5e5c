"""``db policies``: what is wanted and what there is, and a change that says what it drops before it asks."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from datetime import date

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.policies import RETENTION, change_policies, policy_values, read_policies
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event

MARCH = Window.of_month(date(2020, 3, 1))


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["db", "policies", *arguments])


def _answer(answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call the command with its input at a terminal, where somebody types an answer."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "analytics_pipeline", "db", "policies", *arguments]
    try:
        os.write(ours, f"{answer}\n".encode())
        return subprocess.run(command, stdin=theirs, capture_output=True, text=True, check=False)
    finally:
        os.close(ours)
        os.close(theirs)


def _retention(connection: Connection) -> str:
    policies = [p for p in read_policies(connection) if p.procedure == RETENTION]
    return policies[0].config["drop_after"] if policies else "never"


@pytest.mark.slow
def test_it_shows_what_is_wanted_by_whom_and_what_there_is(connection: Connection) -> None:
    result = _call()
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].split()[:3] == ["compress", "after", "30"]
    assert "from the environment when the database was new" in lines[0]
    assert "  policy_compression on analytics_events: compress_after 30 days" in lines
    assert lines[-1] == "All of them are as wanted."
    report = json.loads(_call("--json").stdout)
    assert {name: record["value"] for name, record in report["wanted"].items()} == {
        "retention": "never",
        "compress_after": "30 days",
        "refresh_owner": "dagster",
    }
    assert report["wanted"]["retention"]["set_by"] == connection.info.user
    assert len(report["found"]) == 1 + len(AGGREGATES)
    assert report["differences"] == []


def test_it_shows_what_was_changed_by_hand_and_apply_brings_it_back(connection: Connection) -> None:
    connection.execute("SELECT remove_compression_policy('analytics_events')")
    result = _call()
    assert (
        "NOT AS WANTED   analytics_events has no policy_compression, wanted is compress_after 30 days" in result.output
    )
    assert result.output.splitlines()[-1].endswith("analytics-pipeline db policies --apply")
    assert "1 policies changed" in _call("--apply", "--yes").output
    assert _call().output.splitlines()[-1] == "All of them are as wanted."
    assert "so already" in _call("--apply").output, "what changes nothing asks nothing"


def test_without_a_terminal_and_without_yes_nothing_changes(connection: Connection) -> None:
    result = _call("--retention", "2 years")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: Nothing was changed: there is no terminal to ask at. Repeat with --yes to change it.\n"
    )
    assert "never -> 2 years" in result.stdout, "but it has shown what it would do"
    assert _retention(connection) == policy_values(connection).retention == "never"


@pytest.mark.slow
def test_it_says_what_would_be_dropped_and_what_of_it_is_in_no_figure_yet(connection: Connection) -> None:
    add_event(connection, "2020-03-05T12:00")
    add_event(connection, "2020-03-18T12:00")
    shown = _call("--retention", "2 years").stdout
    assert "policy_retention on analytics_events: added; its first run, in a day, will drop 2 chunks" in shown
    assert "DROPS           2 raw events of [2020-03-05, 2020-03-19)" in shown
    assert "NOT CLOSED      events of [2020-03-01, 2020-04-01) would be missing from the figures for ever" in shown
    assert "analytics-pipeline close --start 2020-03-01 --end 2020-04-01" in shown
    for granularity in Granularity:
        for aggregate in (a for a in AGGREGATES if a.granularity is granularity):
            refresh(connection, aggregate, MARCH)
    shown = _call("--retention", "2 years").stdout
    assert "NOT CLOSED" not in shown
    report = json.loads(_call("--retention", "2 years", "--yes", "--json").stdout)
    assert (report["drops"]["events"], report["drops"]["chunks"], report["drops"]["unclosed"]) == (2, 2, None)
    assert [change["procedure"] for change in report["changes"]] == [RETENTION]
    assert report["wanted"]["retention"]["value"] == _retention(connection) == "2 years"
    assert connection.execute("SELECT count(*) FROM analytics_events").fetchone() == (2,), "a day to notice a mistake"


@pytest.mark.parametrize(("answer", "status", "retention"), [("y", 0, "2 years"), ("n", 1, "never"), ("", 1, "never")])
@pytest.mark.slow
def test_at_a_terminal_it_asks(connection: Connection, answer: str, status: int, retention: str) -> None:
    run = _answer(answer, "--retention", "2 years")
    assert run.returncode == status, run.stderr
    assert "Change the policies? [y/N]" in run.stderr
    assert _retention(connection) == retention


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1)])
def test_at_a_terminal_json_too_says_what_would_be_dropped_before_it_asks(
    connection: Connection, answer: str, status: int
) -> None:
    add_event(connection, "2020-03-05T12:00")
    run = _answer(answer, "--retention", "2 years", "--json")
    assert run.returncode == status, run.stderr
    shown, asked, _ = run.stderr.partition("Change the policies? [y/N]")
    assert asked
    for line in ("never -> 2 years", "DROPS           1 raw events of [2020-03-05, ", "NOT CLOSED      events of ["):
        assert line in shown
    if status == 0:
        assert json.loads(run.stdout)["drops"]["events"] == 1
    else:
        assert run.stdout == ""


def test_the_environment_says_nothing_about_an_existing_database(
    connection: Connection, environment: pytest.MonkeyPatch
) -> None:
    change_policies(connection, server_info(connection), {"retention": "2 years"})
    environment.setenv("ANALYTICS_RETENTION", "never")
    get_settings.cache_clear()
    result = CliRunner().invoke(main, ["db", "migrate"])
    assert "note     ANALYTICS_RETENTION=never counts for a new database only; this one wants 2 years" in result.output
    assert "0 policies changed" in result.output
    assert _retention(connection) == "2 years"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--retention", "soon"], "--retention must look like '2 years' or '30 days', or be never, not 'soon'"),
        (["--compress-after", "-1 days"], "--compress-after must look like"),
        (["--retention", "3 months", "--yes"], "A retention of 3 months is too short"),
        (
            ["--retention", "6 months", "--compress-after", "2 years", "--yes"],
            "With a retention of 6 months, compressing after 2 years would never compress anything",
        ),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(connection: Connection, arguments: list[str], message: str) -> None:
    result = _call(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.output.count("\n") == 1
    assert _call().output.splitlines()[-1] == "All of them are as wanted."


@pytest.mark.slow
def test_a_database_without_the_schema_is_told_to_migrate(environment: pytest.MonkeyPatch) -> None:
    result = _call()
    assert result.exit_code == 1
    assert "analytics-pipeline db migrate" in result.output
