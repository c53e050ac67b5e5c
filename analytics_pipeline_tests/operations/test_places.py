"""The folders of backups: whole, private, and damage that is named."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.operations.places import DamagedBackupError, list_backups, new_backup, open_backup
from analytics_pipeline_tests.operations.backups import a_manifest, write_backup

NOON = datetime(2025, 1, 31, 12, tzinfo=UTC)


def test_files_and_folders_of_a_backup_are_read_by_their_owner_alone(tmp_path: Path) -> None:
    backup = write_backup(tmp_path / "place", NOON)
    folder = Path(backup.path.path)
    assert {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())} == {
        "backup-20250131T120000Z": 0o700,
        "database.dump": 0o600,
        "manifest.json": 0o600,
    }


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    backup = write_backup(tmp_path, NOON)
    file = Path(backup.path.path) / "database.dump"
    backup.require_undamaged(backup.manifest())
    whole = file.read_bytes()
    for damaged, said in ((b"x" + whole[1:], "its checksum"), (whole[:-1], "it has 399 bytes"), (None, "is missing")):
        file.unlink() if damaged is None else file.write_bytes(damaged)
        with pytest.raises(DamagedBackupError, match=f"{file}.*{said}"):
            backup.require_undamaged(backup.manifest())


def test_a_folder_without_manifest_is_no_backup(tmp_path: Path) -> None:
    backup = write_backup(tmp_path, NOON, finished=False)
    assert not backup.is_whole()
    with pytest.raises(AnalyticsError, match=r"has no manifest.json: it is no backup, or one that was not finished"):
        open_backup(backup.location).manifest()


def test_two_backups_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    names = [new_backup(str(tmp_path), "backup", NOON).name for _ in range(2)]
    assert names == ["backup-20250131T120000Z", "backup-20250131T120000Z-2"]
    (tmp_path / "something else").mkdir()
    assert [backup.name for backup in list_backups(str(tmp_path))] == names


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AnalyticsError, match=f"Can't write to {tmp_path}/file"):
        new_backup(f"{tmp_path}/file", "backup", NOON)


def test_an_object_store_holds_backups_like_a_folder() -> None:
    root = "memory://backups-of-a-test"
    backups = []
    for day in (30, 31):
        backup = new_backup(root, "backup", datetime(2025, 1, day, tzinfo=UTC))
        with backup.write("database.dump") as file:
            file.write(b"dump")
        backup.finish(a_manifest(name=backup.name, files=(file.entry("database.dump"),)))
        backups.append(backup)
    assert [backup.name for backup in list_backups(root)] == ["backup-20250130T000000Z", "backup-20250131T000000Z"]
    found = open_backup(f"{root}/backup-20250131T000000Z")
    found.require_undamaged(found.manifest())
    with found.read("database.dump") as stream:
        assert stream.read() == b"dump"
    with found.local_copy("database.dump") as path:
        assert path.read_bytes() == b"dump"
    backups[0].remove()
    assert [backup.name for backup in list_backups(root)] == ["backup-20250131T000000Z"]
