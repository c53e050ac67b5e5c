"""Which days a period without dates is made of."""

import json
from datetime import UTC, date, datetime

import pytest
from click.testing import CliRunner

from analytics_pipeline.cli import main
from analytics_pipeline.cli import metrics as metrics_command
from analytics_pipeline.cli import report as reports_cli
from analytics_pipeline.metrics.periods import window_of_dates
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import Database


def test_without_dates_it_is_the_month_of_today() -> None:
    assert window_of_dates(None, None, date(2025, 1, 31)) == Window.of_month(date(2025, 1, 1))


def test_the_current_month_is_that_of_the_database(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_command, "database_now", lambda _: datetime(2025, 2, 28, 23, 59, tzinfo=UTC))
    answered = CliRunner().invoke(main, ["metrics", "revenue", "--json"])
    answer = json.loads(answered.output)
    assert (answer["startDate"], answer["endDate"]) == ("2025-02-01", "2025-02-28")


def test_the_last_finished_month_of_a_report_is_that_of_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports_cli, "check_clock", lambda _: datetime(2025, 3, 1, 0, 1, tzinfo=UTC))
    answered = CliRunner().invoke(main, ["report", "--format", "json", "--sections", "headline"])
    assert answered.exit_code == 0, answered.output
    assert "2025-02-01_2025-02-28" in answered.output
