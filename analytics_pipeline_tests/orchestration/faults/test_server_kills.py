"""The database server is killed in the middle of each step: the automation completes it, nothing is lost or doubled."""

import random
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from analytics_pipeline.cli import main
from analytics_pipeline.operations.keeping import whole_backups
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.commands import running
from analytics_pipeline_tests.messages.conftest import states
from analytics_pipeline_tests.orchestration.faults.own_server import OwnServer, programs
from analytics_pipeline_tests.orchestration.faults.platform_run import ONE_MAIL_EACH, STALE_SAMPLE, Platform
from analytics_pipeline_tests.orchestration.faults.strikes import STEPS, Moment, moments, striking

pytestmark = [pytest.mark.faults, pytest.mark.endurance]

KILLS = 6


def test_undisturbed_the_month_comes_to_its_end(platform: Platform, undisturbed: dict[str, object]) -> None:
    undisturbed |= platform.work_undisturbed()


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_in_the_middle_of_a_step_is_made_good(
    step: str, platform: Platform, server: OwnServer, undisturbed: dict[str, object]
) -> None:
    with platform.database.connect(autocommit=True) as connection:
        moment = moments(connection)[step]
    with striking(platform.database.url, moment, server.restart):
        platform.work()
    platform.require_as(undisturbed)


def test_kills_at_any_moment_are_made_good(
    platform: Platform, server: OwnServer, undisturbed: dict[str, object]
) -> None:
    chance = random.Random(4)  # noqa: S311
    over = threading.Event()
    kills: list[float] = []

    def kill() -> None:
        while len(kills) < KILLS and not over.wait(0.3 + 2 * chance.random()):
            server.restart()
            kills.append(time.monotonic())

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        platform.work()
    finally:
        over.set()
        thread.join()
    assert len(kills) == KILLS
    platform.require_as(undisturbed)


def test_a_kill_before_a_mail_server_has_the_mail_sends_it_once(
    platform: Platform, server: OwnServer, undisturbed: dict[str, object]
) -> None:
    catcher = platform.catcher
    catcher.waits_for_recipient = True

    def strike() -> None:
        server.restart()
        catcher.go_on()

    with striking(platform.database.url, Moment(lambda _: catcher.asked.is_set()), strike):
        platform.work()
    platform.require_as(undisturbed)


def test_a_kill_before_a_mail_server_answers_leaves_a_mail_for_a_person_and_sends_none_twice(
    platform: Platform, server: OwnServer, undisturbed: dict[str, object]
) -> None:
    catcher = platform.catcher
    catcher.silent_after_data = True

    def strike() -> None:
        server.restart()
        catcher.go_on()

    with striking(platform.database.url, Moment(lambda _: bool(catcher.mails)), strike):
        platform.work()
    assert platform.received() == ONE_MAIL_EACH
    with platform.database.connect(autocommit=True) as connection:
        assert sorted(set(states(connection))) == ["sent", "unknown"]
    assert platform.outcome()["failed checks"] == [*STALE_SAMPLE, "mail_delivered of monthly_report"]
    # Whoever has asked the recipient says that it has arrived.
    with platform.database.connect(autocommit=True) as connection:
        row = connection.execute("SELECT outbox_id FROM analytics_outbox WHERE state = 'unknown'").fetchone()
        assert row is not None
        assert CliRunner().invoke(main, ["outbox", "discard", str(row[0])]).exit_code == 0
    platform.require_as(undisturbed)


def test_a_kill_during_a_backup_leaves_none_that_looks_whole_and_the_next_one_is(
    platform: Platform, server: OwnServer, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("ANALYTICS_PG_BIN", str(programs()))
    get_settings.cache_clear()
    place = tmp_path / "place"
    # It is counted and not dumped to its end: pg_dump waits.
    moment = Moment(lambda _: bool(list(place.glob("*/database.dump"))), "LOCK TABLE _timescaledb_catalog.metadata")
    with (
        running("backup", str(place), "--without-dagster") as command,
        striking(platform.database.url, moment, server.restart),
    ):
        code, _, said = command.result(within=120)
    assert (code, said.splitlines()[-1].startswith("Error: ")) == (1, True), said
    assert "Traceback" not in said
    assert whole_backups(str(place)) == []
    made = CliRunner().invoke(main, ["backup", str(place), "--without-dagster"])
    assert made.exit_code == 0, made.output
    (backup,) = whole_backups(str(place))
    rehearsed = CliRunner().invoke(main, ["restore", backup.location, "--rehearse"])
    assert rehearsed.exit_code == 0, rehearsed.output
    assert "As in the backup" in rehearsed.output
