"""Chunks go into the archive before they are dropped: whole, once, proved, and nothing between the two is lost."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from analytics_pipeline.archive import archiving
from analytics_pipeline.archive.delta_table import ArchiveError
from analytics_pipeline.archive.proved_ranges import read_ranges
from analytics_pipeline.archive.verifying import archive_status, verify_archive
from analytics_pipeline.timescale import waiting
from analytics_pipeline.timescale.policies import RETENTION, policy_differences, policy_values, read_policies
from analytics_pipeline_tests.archive.conftest import JANUARY_CHUNK, STRADDLING_CHUNK, Archived, add_exact_event
from analytics_pipeline_tests.conftest import SERVER_URL, Database

pytestmark = pytest.mark.slow


class _Killed(BaseException):
    """A process that ends here."""


def test_what_has_expired_is_in_the_archive_to_the_last_digit_and_then_dropped(expired: Archived) -> None:
    before = expired.stored()
    run = expired.run()
    assert run.dropped == [JANUARY_CHUNK, STRADDLING_CHUNK]
    assert Path(expired.settings.archive).stat().st_mode & 0o777 == 0o700
    assert len(expired.stored()) == 1
    assert sorted([*expired.archived(), *expired.stored()]) == sorted(before)
    assert expired.connection.execute("SELECT events_from FROM analytics_retention_horizon").fetchall() == [
        (STRADDLING_CHUNK.end,)
    ]
    assert {partition["month"] for partition in expired.archive().delta.partitions()} == {"2023-01", "2023-02"}
    assert [(r.window, r.proved.rows, r.is_whole) for r in read_ranges(expired.connection) if r.proved] == [
        (JANUARY_CHUNK, 2, False),
        (STRADDLING_CHUNK, 2, False),
    ]
    assert verify_archive(expired.connection, expired.settings, None, print).differences == []
    # From then on the engine drops nothing by itself.
    (policy,) = [p for p in read_policies(expired.connection) if p.procedure == RETENTION]
    assert not policy.scheduled
    assert policy_differences(expired.connection, policy_values(expired.connection)) == []
    # Damage is found.
    expired.archive().delta.delete("timestamp < '2023-01-13T00:00:00Z'")
    (difference,) = verify_archive(expired.connection, expired.settings, None, print).differences
    assert difference == f"{JANUARY_CHUNK} holds 1 events, 2 were proved"


def test_a_run_killed_between_writing_and_proving_leaves_nothing_twice(
    expired: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = expired.stored()
    with monkeypatch.context() as patch:
        patch.setattr(archiving, "_prove", _raise)
        with pytest.raises(_Killed):
            expired.run()
    assert len(expired.archived()) == 2, "it was written"
    assert [r.proved for r in read_ranges(expired.connection)] == [None], "and not proved"
    version = expired.archive().version
    run = expired.run()
    assert run.dropped == [JANUARY_CHUNK, STRADDLING_CHUNK]
    assert expired.archive().version == version + 1, "what was there is proved, and not written again"
    assert sorted([*expired.archived(), *expired.stored()]) == sorted(before)


def test_events_deleted_from_a_proved_chunk_leave_the_archive_before_it_is_dropped(
    expired: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(archiving, "_drop", lambda *_: False)
        expired.run()
    assert len(expired.archived()) == 4
    expired.connection.execute("DELETE FROM analytics_events WHERE \"timestamp\" < '2023-01-19Z'")
    expired.run()
    assert len(expired.archived()) == 2
    assert verify_archive(expired.connection, expired.settings, None, print).differences == []


def test_a_chunk_that_changes_after_it_was_proved_is_written_anew_before_it_is_dropped(
    expired: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = add_exact_event(expired.connection, "2023-01-13T08:00", 7)
    drop = archiving._drop

    def change_first(*arguments: object) -> bool:
        monkeypatch.setattr(archiving, "_drop", drop)
        expired.connection.execute("UPDATE analytics_events SET value = 1.50 WHERE event_id = %s", [kept])
        add_exact_event(expired.connection, "2023-01-14T08:00", 8)
        return drop(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(archiving, "_drop", change_first)
    run = expired.run()
    assert (run.changed, run.dropped) == ([JANUARY_CHUNK], [STRADDLING_CHUNK])
    assert JANUARY_CHUNK in expired.chunks()
    before = expired.stored()
    assert JANUARY_CHUNK in expired.run().dropped
    assert [row for row in before if row not in expired.archived() and row not in expired.stored()] == []
    assert len([row for row in expired.archived() if row[1].startswith("2023-01-1")]) == 4


def test_what_the_archive_holds_beyond_what_the_database_knows_of_is_never_overwritten(
    expired: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an older backup of the database was restored."""
    expired.run()
    before = expired.archived()
    expired.connection.execute("DELETE FROM analytics_archive_ranges")
    late = add_exact_event(expired.connection, "2023-01-13T08:00", 7)
    with monkeypatch.context() as patch:
        patch.setattr(archiving, "_prove", _raise)
        with pytest.raises(_Killed):
            expired.run()
    expired.run()
    assert len(expired.archived()) == len(before) + 1
    assert [row for row in before if row not in expired.archived()] == []
    assert late in [row[0] for row in expired.archived()]


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session, in which nothing overlaps")
def test_an_event_that_is_being_recorded_while_its_chunk_is_dropped_is_not_lost(
    expired: Archived, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "BRIEF_TIMEOUT", 0.2)
    monkeypatch.setattr(waiting, "BRIEF_PAUSE", 0.1)
    with database.connect() as writer, ThreadPoolExecutor(1) as pool:
        add_exact_event(writer, "2023-01-14T08:00", 8)
        run = pool.submit(expired.run)
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ExclusiveLock' AND relation IS NOT NULL"
        while writer.execute(waits).fetchone() == (0,):
            assert not run.done()
        writer.commit()
        assert (run.result().changed, run.result().dropped) == ([JANUARY_CHUNK], [STRADDLING_CHUNK])
    before = expired.stored(JANUARY_CHUNK)
    assert len(before) == 3
    assert expired.run().dropped == [JANUARY_CHUNK]
    assert [row for row in before if row not in expired.archived()] == []


def test_late_events_of_a_dropped_range_are_added_to_the_archive_and_counted(
    expired: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired.run()
    before = expired.archived()
    add_exact_event(expired.connection, "2023-01-13T08:00", 7)
    # Known, and known otherwise.
    add_exact_event(expired.connection, "2023-01-12T00:00", 0)
    add_exact_event(expired.connection, "2023-01-15T10:20", 1)
    expired.connection.execute("UPDATE analytics_events SET value = 2 WHERE \"timestamp\" = '2023-01-15T10:20Z'")
    with monkeypatch.context() as patch:
        patch.setattr(archiving, "_prove", _raise)
        with pytest.raises(_Killed):
            expired.run()
    run = expired.run()
    assert run.dropped == [JANUARY_CHUNK]
    assert len(expired.archived()) == len(before) + 1
    assert [row for row in before if row not in expired.archived()] == []
    status = archive_status(expired.connection, expired.settings)
    assert (status.late_events, status.waiting, status.problem) == (1, 0, None)
    conflicts = expired.connection.execute("SELECT source, sent ->> 'value', outcome FROM analytics_event_conflicts")
    assert conflicts.fetchall() == [("archive", "2", "open")]
    assert verify_archive(expired.connection, expired.settings, None, print).differences == []


def test_an_archive_out_of_reach_or_of_another_database_drops_nothing(expired: Archived, tmp_path: object) -> None:
    expired.run()
    moved = str(tmp_path) + "/moved"
    add_exact_event(expired.connection, "2023-02-10", 5)
    before = expired.stored()
    expired.place(moved)
    with pytest.raises(ArchiveError, match=r"There is no archive at .*; that of this database was at"):
        expired.run()
    expired.archive().create(["event_id", "timestamp"])
    with pytest.raises(ArchiveError, match="is the archive of another database"):
        expired.run()
    assert expired.stored() == before
    assert "another database" in (archive_status(expired.connection, expired.settings).problem or "")


def _raise(*_arguments: object, **_options: object) -> None:
    raise _Killed
