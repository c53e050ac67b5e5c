"""Control characters of data and arguments reach neither a terminal nor a log as they are."""

import json
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.cli.terminal import data_console, echo
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.channels.log import LogChannel
from analytics_pipeline.messages.message import Content
from analytics_pipeline.supervisor.output import Output
from analytics_pipeline.text import isolated, printable, printable_line
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.messages.sample_messages import claimed, no_mark

# Recolours the terminal, sets its title, rings, goes back, goes up a line, by C1 too, and turns the writing round.
STEERING = "a\x1b[31m\x1b]0;evil\x07\x08\r\x9b1A\x7f\u202eb\u2028"
# Whatever a terminal may act upon.
FORBIDDEN = [chr(code) for code in (*range(9), *range(11, 32), *range(127, 160), 0x202E, 0x2066, 0x2028)]


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def _steers(text: str) -> bool:
    return any(character in text for character in FORBIDDEN)


def test_escapes_say_what_was_there_and_json_stays_json() -> None:
    assert printable("a\x1b[31m\u202eb\tc\nd\r\ud800") == "a\\u001b[31m\\u202eb\tc\nd\\u000d\\ud800"
    assert printable_line("a\nb\tc") == "a\\nb\\tc"
    assert printable("Müller 漢字 ₿ \u200f") == "Müller 漢字 ₿ \u200f"
    assert json.loads(printable(json.dumps([STEERING]))) == [STEERING]
    assert str(AnalyticsError(f"no {STEERING}")) == f"no {printable(STEERING)}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["metrics", "revenue", STEERING],
        ["metrics", "revenue", f"--{STEERING}"],
        [STEERING],
        [f"--{STEERING}"],
        ["metrics", "revenue", "--start", STEERING],
        ["metrics", "revenue", "--currency", STEERING],
        ["metrics", "revenue", "--company", STEERING],
        ["report", "--sections", STEERING],
        ["report", "--locale", STEERING],
        ["ingest", STEERING],
        ["fx", "load", STEERING],
        ["sources", "check", STEERING],
        ["recipients", "add", "--all-companies", STEERING],
        ["access", "grant", "--all-companies", STEERING],
        ["record", "acme", "--type", STEERING, "--category", STEERING],
        ["outbox", "resend", "--all-companies", "--period", STEERING],
        ["alerts", "test", STEERING],
    ],
)
def test_an_argument_is_quoted_without_them(database: Database, arguments: list[str]) -> None:
    result = _call(*arguments)
    assert result.exit_code in (1, 2)
    assert "Error: " in result.stderr
    assert not _steers(result.output)


def test_data_are_shown_without_them(database: Database, tmp_path: Path) -> None:
    bold = "[bold]x[/bold] :smile: [link=https://evil.example]y[/link]"
    with database.connect(autocommit=True) as connection:
        for event_type in (STEERING, bold):
            add_event(connection, "2025-01-05T12:00", event_type, company_id=STEERING, currency=STEERING)
    period = ("--start", "2025-01-01", "--end", "2025-01-31", "--company", STEERING)
    for command in (("metrics", "revenue", *period), ("metrics", "top-events", *period)):
        shown = _call(*command)
        assert shown.exit_code == 0
        assert not _steers(shown.output)
        assert printable_line("a\x1b[31m") in shown.stdout
        stated = json.loads(_call(*command, "--json").stdout)
        assert stated["companyId"] == STEERING
    assert bold in shown.stdout
    file = tmp_path / "evil\x1b[31m\nname.jsonl"
    file.write_text(json.dumps({STEERING: 1}) + "\n")
    assert not _steers(_call("ingest", str(file)).output)


def test_a_log_keeps_marks_around_a_right_to_left_name_and_no_others(caplog: pytest.LogCaptureFixture) -> None:
    name = "\u05d7\u05d1\u05e8\u05d4"
    assert isolated("Acme") == "Acme"
    content = Content(subject="s", text=f"{isolated(name)}: 12\n\u2068{STEERING}\u2069 \u2067{name}\u2069 \u2068{name}")
    with caplog.at_level(logging.WARNING):
        LogChannel().send(claimed(content, "log:warning"), no_mark)
    said = caplog.records[0].getMessage()
    assert said.startswith(f"s: \u2068{name}\u2069: 12 \u2068a\\u001b")
    assert said.endswith(f"\u2069 \\u2067{name}\\u2069 \\u2068{name}")
    assert not _steers(said)


def test_a_log_holds_none(caplog: pytest.LogCaptureFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.WARNING):
        content = Content(subject=f"failed: {STEERING}", text=f"first line\n{STEERING}")
        LogChannel().send(claimed(content, "log:warning"), no_mark)
    (record,) = caplog.records
    assert not _steers(record.getMessage())
    output = Output(tmp_path / "up.log")
    line = f"2026-01-31 10:00:00 +0000 - dagster - ERROR - {STEERING}\n".encode()
    with (tmp_path / "lines").open("w+b") as stream:
        stream.write(line)
        stream.seek(0)
        output.follow("daemon", stream).last()
    assert not _steers((tmp_path / "up.log").read_text(encoding="utf-8"))
    echo(STEERING)
    data_console().print(STEERING)
    assert not _steers(capsys.readouterr().out)
