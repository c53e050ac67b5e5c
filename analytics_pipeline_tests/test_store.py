"""Documents are stored whole, keep their earlier revisions and stay inside the store."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from upath import UPath

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import Settings
from analytics_pipeline.store import artifact_name, open_store, store_artifact

NAME = "monthly_report/2026-01/companies/acme.pdf"


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_document_is_stored_with_its_size_and_checksum(tmp_path: Path) -> None:
    stored = store_artifact(str(tmp_path / "a folder"), NAME, b"first")

    assert Path(stored.path).read_bytes() == b"first"
    assert stored.uri == (tmp_path / "a folder" / NAME).as_uri()
    assert (stored.size, stored.sha256) == (5, sha256(b"first").hexdigest())
    assert stored.earlier_revision is None


def test_a_re_run_replaces_the_document_and_keeps_the_earlier_revision(tmp_path: Path) -> None:
    store_artifact(str(tmp_path), NAME, b"first")
    stored = store_artifact(str(tmp_path), NAME, b"second")

    revision = NAME.replace(".pdf", f"~rev-{sha256(b'first').hexdigest()[:16]}.pdf")
    assert files_in(tmp_path) == {NAME, revision}
    assert (tmp_path / NAME).read_bytes() == b"second"
    assert (tmp_path / revision).read_bytes() == b"first"
    assert stored.earlier_revision == (tmp_path / revision).as_uri()


def test_the_same_bytes_again_change_nothing(tmp_path: Path) -> None:
    first = store_artifact(str(tmp_path), NAME, b"first")
    before = (tmp_path / NAME).stat()

    assert store_artifact(str(tmp_path), NAME, b"first") == first
    after = (tmp_path / NAME).stat()
    # Not when it was read: it is read to be compared.
    assert (after.st_ino, after.st_mode, after.st_ctime_ns) == (before.st_ino, before.st_mode, before.st_ctime_ns)
    assert files_in(tmp_path) == {NAME}


def test_a_write_that_fails_leaves_the_document_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_artifact(str(tmp_path), NAME, b"first")
    renamed: list[Path] = []
    rename = Path.rename

    def replace(self: Path, target: Path) -> Path:
        renamed.append(target)
        if target.name == "acme.pdf":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(AnalyticsError, match="No space left on device"):
        store_artifact(str(tmp_path), NAME, b"second")

    assert renamed
    assert (tmp_path / NAME).read_bytes() == b"first"
    assert not [name for name in files_in(tmp_path) if name.endswith(".tmp")]


def test_readers_never_see_a_part_of_a_document(tmp_path: Path) -> None:
    contents = [bytes([number]) * 200_000 for number in range(8)]
    store_artifact(str(tmp_path), NAME, contents[0])

    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(store_artifact, str(tmp_path), NAME, content) for content in contents * 3]
        while not all(write.done() for write in writes):
            assert (tmp_path / NAME).read_bytes() in contents
        assert all(write.result().size == 200_000 for write in writes)

    assert not [name for name in files_in(tmp_path) if name.endswith(".tmp")]


def test_files_are_their_owners_alone_whatever_the_umask_allows(tmp_path: Path) -> None:
    earlier = os.umask(0o027)
    try:
        stored = store_artifact(str(tmp_path), NAME, b"first")
    finally:
        os.umask(earlier)

    assert stat.S_IMODE(Path(stored.path).stat().st_mode) == 0o600


def test_a_file_uri_is_a_local_folder(tmp_path: Path) -> None:
    stored = store_artifact((tmp_path / "store").as_uri(), NAME, b"first")

    assert stored.path == str(tmp_path / "store" / NAME)
    assert files_in(tmp_path) == {f"store/{NAME}"}


def test_an_object_store_keeps_revisions_too() -> None:
    root = "memory://reports/store"
    store_artifact(root, NAME, b"first")
    stored = store_artifact(root, NAME, b"second")

    assert stored.uri == f"{root}/{NAME}"
    assert UPath(stored.uri).read_bytes() == b"second"
    assert stored.earlier_revision is not None
    assert UPath(stored.earlier_revision).read_bytes() == b"first"


@pytest.mark.parametrize("root", ["memory://found/store", ""], ids=["objects", "folder"])
def test_files_of_all_folders_are_listed_and_removed(root: str, tmp_path: Path) -> None:
    store = open_store(root or str(tmp_path))
    store.write("done/day/a.jsonl", b"a")
    store.write("b.jsonl", b"b")
    assert store.names_below() == ["b.jsonl", "done/day/a.jsonl"]
    for _ in range(2):
        store.remove("done/day/a.jsonl")
    assert (store.names_below(), store.read("done/day/a.jsonl")) == (["b.jsonl"], None)
    assert open_store(f"{root or tmp_path}/nothing").names_below() == []


def test_a_store_that_ends_with_its_process_is_refused() -> None:
    with pytest.raises(ValidationError, match="must outlive the process"):
        Settings(artifacts="memory://reports")


@pytest.mark.parametrize(
    "name",
    [
        "../x.pdf",
        "a/../x.pdf",
        "/etc/x.pdf",
        "a//x.pdf",
        "",
        ".",
        "a/.",
        ".x.pdf",
        "a\\x.pdf",
        "a\x00.pdf",
        "a\n",
        "C:x",
    ],
)
def test_a_name_that_could_leave_the_store_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AnalyticsError, match="not safe"):
        store_artifact(str(tmp_path / "store"), name, b"x")

    assert files_in(tmp_path) == set()


def test_a_folder_that_cannot_be_written_gives_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(AnalyticsError, match="ANALYTICS_ARTIFACTS"):
        store_artifact(str(tmp_path / "file"), NAME, b"x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_gives_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(AnalyticsError, match="Permission denied"):
        store_artifact(str(tmp_path), NAME, b"x")


def test_an_unknown_store_gives_a_clear_error_without_its_password() -> None:
    with pytest.raises(AnalyticsError, match="ANALYTICS_ARTIFACTS") as caught:
        store_artifact("nosuch://user:secret@host/x", NAME, b"x")

    assert "secret" not in str(caught.value)


def test_simple_names_stay_readable() -> None:
    assert artifact_name("monthly_report", "2026-01", "acme.co_1-b", suffix=".pdf") == (
        "monthly_report/2026-01/acme.co_1-b.pdf"
    )


@pytest.mark.parametrize(
    "part", ["..", ".", "", "a/b", "\\", "A", "acme\x00", "a" * 10_000, "~rev-1", "é", "\ud800", "a."]
)
def test_other_names_are_made_safe(tmp_path: Path, part: str) -> None:
    name = artifact_name("reports", part, suffix=".pdf")
    store_artifact(str(tmp_path), name, b"x")

    assert files_in(tmp_path) == {name}
    assert "~" in name
    assert name != artifact_name("reports", part + "x", suffix=".pdf")


@given(st.text(st.characters(exclude_categories=()), max_size=80), st.text(max_size=80))
def test_different_parts_have_different_names(one: str, other: str) -> None:
    names = {artifact_name(part, suffix=".pdf").casefold() for part in (one, other)}

    assert len(names) == len({one, other})


def test_a_made_name_cannot_be_claimed_by_another_id() -> None:
    made = artifact_name("Acme", suffix=".pdf")

    assert artifact_name(made.removesuffix(".pdf"), suffix=".pdf") != made


@pytest.mark.parametrize("suffix", ["", "pdf", "./x", ".p/f", ".PDF"])
def test_a_suffix_is_checked(suffix: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        artifact_name("a", suffix=suffix)
