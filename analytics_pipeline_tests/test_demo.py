"""The demo and events older than the retention of the database it loads them into."""

import time
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from analytics_pipeline import demo
from analytics_pipeline.ages import NEVER
from analytics_pipeline.database import connect, migrate
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.policies import RETENTION, change_policies, policy_values, read_policies
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.first_migration import take_back_policies

OLD = Window(datetime(2020, 3, 1, tzinfo=UTC), datetime(2020, 5, 1, tzinfo=UTC))


def _keep(span: Window) -> str:
    console = Console(record=True, width=200, quiet=True)
    demo._keep_events(console, get_settings(), span)
    return console.export_text()


@pytest.fixture
def default_retention(database: Database, environment: pytest.MonkeyPatch) -> None:
    """A database whose retention nobody has chosen."""
    with database.connect(autocommit=True) as connection:
        take_back_policies(connection)
    environment.delenv("ANALYTICS_RETENTION")
    get_settings.cache_clear()
    migrate()


@pytest.mark.slow
def test_a_retention_that_nobody_chose_gives_way_in_the_database_itself(default_retention: None) -> None:
    recent = Window(datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0), datetime.now(UTC))
    assert _keep(recent) == ""
    _keep(OLD)
    with connect(autocommit=True) as connection:
        assert policy_values(connection).retention == NEVER
        assert RETENTION not in {p.procedure for p in read_policies(connection)}
        migrate()
        assert RETENTION not in {p.procedure for p in read_policies(connection)}


@pytest.mark.parametrize("chosen", ["by command", "in the environment"])
def test_a_retention_that_somebody_chose_is_left_and_the_command_named(
    default_retention: None, environment: pytest.MonkeyPatch, chosen: str
) -> None:
    with connect(autocommit=True) as connection:
        if chosen == "by command":
            change_policies(connection, server_info(connection), {"retention": "2 years"})
        else:
            environment.setenv("ANALYTICS_RETENTION", "2 years")
            get_settings.cache_clear()
        with pytest.raises(AnalyticsError, match="run 'analytics-pipeline db policies --retention never' first"):
            _keep(OLD)
        assert policy_values(connection).retention == "2 years"


def test_a_disk_that_is_too_small_is_named_before_anything_is_begun(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("ANALYTICS_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    with pytest.raises(
        AnalyticsError, match=r"takes about 3,\d{3},\d{3},\d{3} MB of disk under .*name a folder with more"
    ):
        demo.run_demo(None, demo.SampleSize(months=13, companies=5, scale=10_000_000, seed=7), confirmed=True)
    assert not (tmp_path / "home").exists()


def test_a_step_shows_its_seconds_and_those_of_the_whole_demo() -> None:
    console = Console(record=True, width=200, force_terminal=True, file=StringIO())
    with demo._step(console, time.monotonic() - 65, "closing") as (_, clock):
        clock.started -= 3
        clock.doing = "closing: the hours are closed"
        console.print(clock)
    assert "closing: the hours are closed 3 s, 65 s in all" in console.export_text()
