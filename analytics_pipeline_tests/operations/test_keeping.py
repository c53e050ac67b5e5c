"""Which backups are kept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from analytics_pipeline.operations.keeping import drop_superfluous, kept_backups, whole_backups
from analytics_pipeline.operations.places import list_backups
from analytics_pipeline_tests.operations.backups import write_backup

# A Friday.
LAST = datetime(2026, 1, 30, 2, 30, tzinfo=UTC)


def test_seven_days_four_weeks_and_twelve_months_are_kept() -> None:
    daily = [LAST - timedelta(days=days) for days in range(800)]
    kept = sorted(kept_backups(daily))
    days = [f"2026-01-{day}" for day in range(24, 31)]
    # Sundays; that of the 25th is one of the days, and the running week's newest is the last day.
    weeks = ["2026-01-11", "2026-01-18"]
    last_days = ["02-28", "03-31", "04-30", "05-31", "06-30", "07-31", "08-31", "09-30", "10-31", "11-30", "12-31"]
    months = [f"2025-{day}" for day in last_days]
    assert [f"{time:%Y-%m-%d}" for time in kept] == sorted([*days, *weeks, *months])


def test_while_no_backup_is_made_none_is_lost() -> None:
    old = [LAST - timedelta(days=400 + days) for days in range(3)]
    assert kept_backups(old) == set(old)


def test_of_a_day_the_newest_backup_is_kept() -> None:
    assert kept_backups([LAST, LAST + timedelta(hours=3)]) == {LAST + timedelta(hours=3)}


def test_superfluous_backups_and_what_killed_ones_have_left_are_removed(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    for days in range(10):
        write_backup(tmp_path, LAST - timedelta(days=days))
    left = write_backup(tmp_path, now - timedelta(days=3), finished=False)
    running = write_backup(tmp_path, now, finished=False)
    export = write_backup(tmp_path, LAST - timedelta(days=2000), "events")
    dropped = drop_superfluous(str(tmp_path))
    assert dropped == ["backup-20260121T023000Z", "backup-20260122T023000Z", "backup-20260123T023000Z", left.name]
    kept = [backup.name for backup in list_backups(str(tmp_path))]
    assert kept == [export.name, *(backup.name for backup in whole_backups(str(tmp_path))), running.name]
    assert len(kept) == 9
