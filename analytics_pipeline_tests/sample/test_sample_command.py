"""The command: what it writes where, and what it refuses."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from analytics_pipeline.cli import main
from analytics_pipeline.cli.sample import months_before, sample

SMALL = ["--start", "2025-01-01", "--months", "1", "--companies", "1", "--scale", "0.1"]


def test_output_goes_to_standard_output_or_into_a_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    to_screen = CliRunner().invoke(sample, SMALL)
    to_file = CliRunner().invoke(sample, [*SMALL, "--output", str(path)])
    assert to_screen.exit_code == to_file.exit_code == 0
    assert to_screen.stdout_bytes == path.read_bytes()
    assert to_file.stdout == ""
    assert f"{len(path.read_bytes().splitlines()):,} events" in to_file.stderr


def test_default_start_makes_the_last_month_the_one_before_this() -> None:
    result = CliRunner().invoke(sample, ["--months", "2", "--companies", "1", "--scale", "0.1"])
    days = {json.loads(line)["timestamp"][:10] for line in result.stdout.splitlines()}
    today = datetime.now(UTC).date()
    assert min(days) >= months_before(today, 2).isoformat()
    assert max(days) < today.replace(day=1).isoformat()
    assert len(days) > 50


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2026, 2, 14), 13, date(2025, 1, 1)),
        (date(2026, 1, 1), 1, date(2025, 12, 1)),
        (date(2026, 12, 31), 12, date(2025, 12, 1)),
    ],
)
def test_months_before(day: date, months: int, expected: date) -> None:
    assert months_before(day, months) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--start", "2025-01"], "'2025-01' is no day: write it like 2025-01-31"),
        (["--start", "2025-01-15"], "first day of a month, not on 2025-01-15"),
        (["--months", "0"], "0 is not in the range x>=1"),
        (["--months", "99999"], "ask for fewer"),
        (["--companies", "0"], "0 is not in the range x>=1"),
        (["--scale", "-1"], "-1.0 is not in the range x>0"),
        (["--output", "no/such/folder/events.jsonl"], "Cannot write no/such/folder/events.jsonl"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["sample", *arguments])
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
