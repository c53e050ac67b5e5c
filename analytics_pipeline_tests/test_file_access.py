"""Documents, rejects and their folders are their owner's alone, whatever the umask is, unless a setting opens them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics_pipeline.events.inbox import open_inbox
from analytics_pipeline.intake.rejects import Reject, RejectsFile
from analytics_pipeline.settings import get_settings, write_settings_file
from analytics_pipeline.store import store_artifact, write_file


@pytest.fixture(params=[0, 0o022, 0o777])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize(
    ("access", "file_mode", "folder_mode"), [(None, 0o600, 0o700), ("group", 0o640, 0o750), ("everyone", 0o644, 0o755)]
)
def test_documents_and_rejects_are_readable_by_whom_the_setting_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, access: str | None, file_mode: int, folder_mode: int
) -> None:
    monkeypatch.setenv("ANALYTICS_HOME", str(tmp_path))
    if access is not None:
        monkeypatch.setenv("ANALYTICS_FILE_ACCESS", access)
    get_settings.cache_clear()
    try:
        stored = Path(store_artifact(str(tmp_path / "documents"), "acme/2025-01.pdf", b"first").path)
        store_artifact(str(tmp_path / "documents"), "acme/2025-01.pdf", b"second")
        written = Path(write_file(tmp_path / "report.pdf", b"first").path)
        rejects = tmp_path / "rejects" / "a.jsonl"
        with RejectsFile(rejects) as file:
            file.add(Reject("a", 1, "kind", "reason", "acme", "{}"))
        inbox = tmp_path / "inbox"
        for folder in (inbox, inbox / "done"):
            folder.mkdir()
            folder.chmod(0o755)
        (inbox / "a.jsonl").touch()
        dropped = open_inbox(str(inbox)).find("a.jsonl")
        assert dropped is not None
        filed = open_inbox(str(inbox)).file_away(dropped, "done", {".rejects.jsonl": rejects})
        files = [*stored.parent.iterdir(), written, rejects, Path(f"{filed}.rejects.jsonl")]
        assert len(files) == 5
        assert {_mode(path) for path in files} == {file_mode}
        assert {_mode(path) for path in (stored.parent, stored.parent.parent, rejects.parent)} == {folder_mode}
        assert _mode(write_settings_file(tmp_path, {"ANALYTICS_SMTP_URL": "smtp://mail.example.com"})) == 0o600
    finally:
        get_settings.cache_clear()


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYTICS_HOME", str(tmp_path))
    get_settings.cache_clear()
    folder = tmp_path / "documents"
    folder.mkdir()
    folder.chmod(0o751)
    store_artifact(str(folder), "acme/2025-01.pdf", b"first")
    assert _mode(folder) == 0o751


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
