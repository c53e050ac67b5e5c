"""Erasing reaches the archive: its rows, its proofs and the files of its older versions."""

from pathlib import Path

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner

from analytics_pipeline.archive.restoring import restore_months
from analytics_pipeline.archive.verifying import verify_archive
from analytics_pipeline.cli import main
from analytics_pipeline.erasure import archived_events
from analytics_pipeline_tests.archive.conftest import JANUARY_CHUNK, Archived, add_exact_event

pytestmark = pytest.mark.slow
PERSON = "Ünï-1\x1f:|"


def erase(*arguments: str, status: int = 0) -> None:
    done = CliRunner().invoke(main, ["erase", *arguments, "--yes"])
    assert done.exit_code == status, done.output


def files_of(expired: Archived) -> str:
    """Return every cell of every file of the archive, those of older versions among them, and its log."""
    folder = Path(expired.archive().uri)
    rows = [row for path in folder.rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    cells = [cell for row in rows for cell in row.values()]
    return " ".join([*map(str, cells), *(path.read_text() for path in folder.rglob("*.json"))])


def test_rows_are_rewritten_and_proved_anew_and_older_files_are_gone(
    expired: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_exact_event(expired.connection, "2023-01-16", 5, company="globex")
    assert len(expired.run().dropped) == 2
    before = expired.archived()
    # As after a hundred commits: the log has a checkpoint, which is no file of rows.
    expired.archive().delta.create_checkpoint()
    assert PERSON in files_of(expired)
    # Killed before the older files are removed: the next time sees to it.
    with monkeypatch.context() as patched:
        patched.setattr(archived_events, "_AT_ONCE", {"no_such": True})
        assert CliRunner().invoke(main, ["erase", "--company", "acme", "--user", PERSON, "--yes"]).exit_code == 1
    erase("--company", "acme", "--user", PERSON)
    ((pseudonym,),) = expired.connection.execute("SELECT pseudonym FROM analytics_erasures").fetchall()
    after = expired.archived()
    assert [(*row[:4], *row[5:9]) for row in after] == [(*row[:4], *row[5:9]) for row in before]
    assert {row[4] for row in after if row[3] == "acme"} == {pseudonym, ""}
    # Another person, of another company, is called the same.
    assert [row[4] for row in after if row[3] == "globex"] == [PERSON]
    assert files_of(expired).count(PERSON) == 1
    assert verify_archive(expired.connection, expired.settings, None, print).differences == []
    # What comes back is what was proved.
    restored = restore_months(expired.connection, expired.settings, JANUARY_CHUNK, print)
    assert restored.events > 0
    users = expired.connection.execute("SELECT DISTINCT user_id FROM analytics_events WHERE company_id = 'acme'")
    assert {user for (user,) in users} == {pseudonym, None}

    erase("--company", "globex")
    assert "globex" not in files_of(expired)
    assert verify_archive(expired.connection, expired.settings, None, print).differences == []


def test_without_the_place_of_the_archive_nothing_is_erased(expired: Archived) -> None:
    expired.run()
    expired.place(None)
    done = CliRunner().invoke(main, ["erase", "--company", "acme", "--user", PERSON, "--yes"])
    assert (done.exit_code, "ANALYTICS_ARCHIVE names no place" in done.output) == (1, True)
    assert expired.connection.execute("SELECT count(*) FROM analytics_erased_ids").fetchone() == (0,)
