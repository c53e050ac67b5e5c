"""A person who is erased is nowhere any more, and every figure is what it was; of a company nothing is left."""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pypdf import PdfReader

from analytics_pipeline.cli import main
from analytics_pipeline.erasure.erase import require_owner
from analytics_pipeline.erasure.event_rows import StoredEvents
from analytics_pipeline.erasure.kept_files import KeptFiles
from analytics_pipeline.erasure.stored_rows import StoredRows
from analytics_pipeline.errors import RefusedError
from analytics_pipeline.events.ingest import ingest
from analytics_pipeline.events.record import record_event
from analytics_pipeline.events.sources import Source
from analytics_pipeline.metrics.tables import METRIC_TABLES, close_metric
from analytics_pipeline.settings import get_settings
from analytics_pipeline.store import open_store, read_artifact
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.erasure.crowded import (
    ANN,
    CID,
    crowded_database,
    figures,
    naming,
    packed_lines,
    plant,
    record,
)
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import close_inputs
from analytics_pipeline_tests.reports.ledger import JANUARY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crowded(embedded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with everything in it; the tests erase one after the other."""
    folder = tmp_path_factory.mktemp("crowded")
    with crowded_database(embedded_home, folder) as database, pytest.MonkeyPatch.context() as environment:
        environment.setenv("ANALYTICS_INBOX", str(folder / "inbox"))
        environment.setenv("ANALYTICS_SMTP_URL", (folder / "mails").as_uri())
        get_settings.cache_clear()
        yield replace(database, settings=get_settings())


@pytest.fixture
def connection(crowded: Database) -> Iterator[Connection]:
    with crowded.connect(autocommit=True) as connection:
        yield connection


def erase(*arguments: str, status: int = 0) -> Result:
    done = CliRunner().invoke(main, ["erase", "--company", "acme", *arguments])
    assert done.exit_code == status, done.output
    return done


def erased(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(erase(*arguments, "--yes", "--json").stdout)
    return found


def test_who_is_unknown_is_said_in_a_line_and_nothing_is_erased_without_a_yes(connection: Connection) -> None:
    assert "No such user of 'acme' is known: 'nobody'." in erase("--user", "nobody", "--yes", status=2).output
    unknown = CliRunner().invoke(main, ["erase", "--company", "nobody", "--yes"])
    assert (unknown.exit_code, "No such company is known: 'nobody'." in unknown.output) == (2, True)
    asked = erase("--user", ANN, status=1)
    assert "analytics_events: 6" in asked.output
    assert "there is no terminal to ask at" in asked.output
    assert connection.execute("SELECT count(*) FROM analytics_erased_ids").fetchone() == (0,)
    connection.execute("SET ROLE analytics_writer")
    with pytest.raises(RefusedError, match="Only the owner of the tables may erase: connect as "):
        require_owner(connection)


def test_a_person_is_nowhere_any_more_and_every_figure_is_what_it_was(connection: Connection) -> None:
    empty, refused = plant(connection, ANN)
    # A table without a row proves nothing: crowded.py puts one into it. A column that refuses the person needs none.
    assert empty == []
    # These two are of whom the person was called before, and a change as it would be otherwise (test_subject.py).
    assert refused == ["analytics_id_aliases.former_user_id", "analytics_subscriptions.otherwise"]
    before = figures(connection)
    chunks = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
    ((compressed,),) = connection.execute(chunks).fetchall()
    assert compressed > 3
    assert len(naming(connection, ANN, "acme")) > 25

    done = erased("--user", ANN)
    assert done["left"] == []
    assert naming(connection, ANN, "acme") == []
    assert naming(connection, "A. Smith", "acme") == []
    assert figures(connection) == before
    assert connection.execute(chunks).fetchall() == [(compressed,)]
    # Another person, of another company, is called the same.
    assert len(naming(connection, ANN, "globex")) > 2

    pseudonym = done["pseudonym"]
    assert pseudonym.endswith("@erased.invalid")
    kept = connection.execute(
        "SELECT DISTINCT k FROM analytics_events, jsonb_object_keys(metadata) AS k WHERE user_id = %s", [pseudonym]
    )
    assert {key for (key,) in kept} == {"subscription_id", "status", "interval", "interval_count", "quantity"}
    # In months whose events have expired in part, too.
    activity = "SELECT count(*) FROM analytics_user_activity_monthly WHERE user_id = %s AND bucket = '2025-12-01'"
    assert connection.execute(activity, [pseudonym]).fetchone() == (1,)
    acts = connection.execute("SELECT act, subject, details FROM analytics_audit ORDER BY audit_id DESC LIMIT 1")
    assert acts.fetchall() == [("erasure.finish", pseudonym, {"kind": "user", "places": done["touched"]})]
    # Closed again, from the events as they are now.
    close_inputs(connection, JANUARY)
    for table in METRIC_TABLES:
        close_metric(connection, table, Granularity.MONTH, JANUARY, "EUR")
    assert without_fingerprints(figures(connection)) == without_fingerprints(before)


def without_fingerprints(found: dict[str, Any]) -> dict[str, Any]:
    """Return figures without what tells sets of users apart, and is none."""
    rows = [
        {name: value for name, value in row.items() if name != "active_fingerprint"}
        for (row,) in found["analytics_user_metrics"]
    ]
    return {**found, "analytics_user_metrics": rows}


def test_a_signed_document_that_named_the_person_is_made_again_with_its_figures_and_marked(
    connection: Connection,
) -> None:
    store = open_store(get_settings().artifacts_root)
    for name in store.names_below():
        content = store.read(name)
        assert content is not None
        text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages)
        # Another person, of another company, is called the same.
        assert (ANN in text) == ("/globex" in name)
    rows = connection.execute(
        "SELECT s.document_sha256, d.name, d.size, f.sha256, d.erased_at IS NOT NULL FROM analytics_signoffs AS s "
        "JOIN analytics_report_documents AS d USING (document_id) JOIN analytics_report_files AS f USING (document_id) "
        "WHERE s.company_id = 'acme'"
    ).fetchall()
    ((sha256, name, size, file_sha256, is_marked),) = rows
    content = read_artifact(get_settings().artifacts_root, name, sha256)
    assert (hashlib.sha256(content).hexdigest(), len(content), file_sha256, is_marked) == (sha256, size, sha256, True)
    text = " ".join("".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages).split())
    assert "Made again: the document of this period held data of a person or company that were erased." in text
    assert "its figures are the signed ones" in text
    assert "Total revenue, EUR 15000.00" in text


def test_records_that_still_name_the_person_are_recorded_under_the_pseudonym(
    connection: Connection, tmp_path: Path
) -> None:
    ((pseudonym,),) = connection.execute("SELECT pseudonym FROM analytics_erasures").fetchall()
    file = tmp_path / "again.jsonl"
    wrong = {**record(3, ANN), "value": "much"}
    lines = [record(1, ANN), record(2, "bob", by=ANN), wrong, record(4, "Ann")]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for _ in range(2):
        summary = ingest([Source.of(file)], connection, rejects_path=tmp_path / "rejects.jsonl")
    assert (summary.already_there, summary.rejected, summary.conflicts) == (3, 1, 0)
    users = (
        "SELECT user_id, metadata ->> 'by' FROM analytics_events "
        "WHERE event_type LIKE 'payment%' AND \"timestamp\" > '2026-01-20' ORDER BY value"
    )
    assert connection.execute(users).fetchall() == [(pseudonym, None), ("bob", pseudonym), (pseudonym, None)]
    assert naming(connection, ANN, "acme") == []
    assert "A. Smith" not in (tmp_path / "rejects.jsonl").read_text()
    recorded = record_event("acme", ANN, "feature.tried", "user_activity", connection=connection)
    whose = connection.execute("SELECT user_id FROM analytics_events WHERE event_id = %s", [recorded])
    assert whose.fetchall() == [(pseudonym,)]
    # Nothing is left to do.
    assert set(erased("--user", ANN)["touched"]) == set()


def test_the_same_file_is_recognised_again_whatever_the_ids_of_the_erased_stand_in(
    connection: Connection, tmp_path: Path
) -> None:
    odd, plain = 'O\'Brien "the 1st"', "zoe\u0308-17"
    monthly: dict[str, object] = {"status": "active", "interval": "month", "interval_count": 1, "quantity": 1}
    monthly["subscription_id"] = f"sub-{plain}-card"
    lines = [
        record(1, odd),
        {**record(2, plain, **monthly), "event_type": "subscription.started", "category": "subscription"},
        record(3, "bob", **{plain: "as key", "by": f"for {odd}, and {plain}.pdf", "url": "?u=zo%C3%AB-17"}),
        {**record(4, "bob", **monthly), "event_type": "subscription.changed", "category": "subscription"},
    ]
    wrong = {**record(5, "bob", by=f"for {odd}", **{plain: [1]}), "value": "much"}
    lines = [{**line, "event_id": f"again-{number}"} for number, line in enumerate(lines)]
    file, rejects = tmp_path / "again.jsonl", tmp_path / "rejects.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in [*lines, wrong]))
    assert ingest([Source.of(file)], connection, rejects_path=rejects).new == 4
    before = figures(connection)
    for id_ in (odd, plain):
        done = erased("--user", id_)
        assert (done["left"], done["suspected"]) == ([], [])
    assert figures(connection) == before
    rejects.unlink()
    again = ingest([Source.of(file)], connection, rejects_path=rejects)
    assert (again.already_there, again.rejected, again.conflicts) == (4, 1, 0)
    # Somebody else's change of such an event is a contradiction, which is kept without the ids.
    file.write_text(json.dumps({**lines[2], "value": "7"}))
    contradicted = ingest([Source.of(file)], connection, rejects_path=rejects)
    assert (contradicted.conflicts, contradicted.rejected) == (1, 1)
    for name in ("the 1st", "zo\u00eb", "zo\u0308", "zo%C3%AB"):
        assert (naming(connection, name, "acme"), name in rejects.read_text()) == ([], False)


def test_a_longer_word_that_may_hold_an_id_is_named_and_left(connection: Connection) -> None:
    connection.execute("UPDATE analytics_notifications SET subject = 'of pay-eve-99_b', error = 'of eve-991'")
    add_event(connection, "2026-01-20T09:00", user_id="eve-99")
    done = erased("--user", "eve-99")
    assert (done["left"], done["suspected"]) == ([], ["analytics_notifications.subject: 1 rows"])
    said = erase("--user", "eve-99", "--yes").output
    assert "These may hold the id as a part of a longer word" in said


def test_an_id_that_is_an_ordinary_word_is_replaced_where_an_id_stands_alone(connection: Connection) -> None:
    connection.execute("UPDATE analytics_notifications SET subject = 'dan', source = 'dan'")
    connection.execute("UPDATE analytics_companies SET name = 'dan' WHERE company_id = 'acme'")
    said = erase("--user", "dan", "--yes").output
    assert "An id of it is an ordinary word or number" in said
    ((pseudonym,),) = connection.execute("SELECT pseudonym FROM analytics_erasures ORDER BY begun_at DESC LIMIT 1")
    assert connection.execute("SELECT count(*) FROM analytics_users WHERE user_id = 'dan'").fetchone() == (0,)
    name = "SELECT name FROM analytics_companies WHERE company_id = 'acme'"
    assert connection.execute(name).fetchone() == (pseudonym,)
    # Whose word it is there nobody knows.
    words = "SELECT subject, source FROM analytics_notifications"
    assert connection.execute(words).fetchone() == ("dan", "dan")


def test_an_erasure_that_is_killed_anywhere_goes_on_with_its_pseudonym(
    connection: Connection, crowded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Path(crowded.settings.inbox_root) / "done"
    inbox.mkdir(parents=True)
    (inbox / "day.jsonl.gz").write_bytes(packed_lines(record(5, CID), record(6, "bob")))
    (inbox / f"of {CID}.csv").write_text(f"event_id;company_id;user_id;mail;metadata\n1;acme;{CID};x;\n2;acme;bob;y;\n")
    mails = Path(crowded.settings.home) / "rejects" / f"{CID}.jsonl"
    mails.parent.mkdir(exist_ok=True)
    mails.write_text(json.dumps({"reason": f"of {CID}", "record": json.dumps(record(7, CID))}) + "\n")
    # What a killed writer has left of a document.
    draft = Path(crowded.settings.artifacts_root) / "monthly_report/2026-01/companies/.acme.pdf.0123456789abcdef.tmp"
    draft.write_bytes(f"for {CID}".encode())
    before = figures(connection)
    pseudonyms = set()
    for owner, method in ((StoredEvents, "_conceal"), (StoredRows, "_change"), (KeptFiles, "erase")):
        with monkeypatch.context() as patched:
            _kill_at_second_call(patched, owner, method)
            assert CliRunner().invoke(main, ["erase", "--company", "acme", "--user", CID, "--yes"]).exit_code != 0
        pseudonyms |= set(connection.execute("SELECT pseudonym FROM analytics_erasures WHERE finished_at IS NULL"))
    # What a place has left is named.
    with monkeypatch.context() as patched:
        patched.setattr(StoredRows, "erase", lambda *_: None)
        left = erase("--user", CID, "--yes", status=1).output
    assert "Not everything could be erased. Left is " in left
    assert "analytics_users.user_id: 1 rows" in left
    done = erased("--user", CID)
    assert pseudonyms == {(done["pseudonym"],)}
    assert (done["left"], naming(connection, CID, "acme")) == ([], [])
    assert figures(connection) == before
    assert not draft.exists()
    assert sorted(path.name for path in inbox.iterdir()) == ["day.jsonl.gz", f"of {done['pseudonym']}.csv"]
    rows = (inbox / f"of {done['pseudonym']}.csv").read_text().splitlines()
    assert rows[1:] == [f"1;acme;{done['pseudonym']};;", "2;acme;bob;y;"]
    ingested = ingest([Source.of(inbox / "day.jsonl.gz")], connection, rejects_path=inbox.parent / "rejects.jsonl")
    assert (ingested.new, ingested.rejected) == (2, 0)
    mails.unlink(missing_ok=True)
    (mails.parent / f"{done['pseudonym']}.jsonl").unlink()


def _kill_at_second_call(patched: pytest.MonkeyPatch, owner: type, method: str) -> None:
    real, calls = getattr(owner, method), []

    def killed(*arguments: Any) -> Any:
        calls.append(method)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return real(*arguments)

    patched.setattr(owner, method, killed)


def test_of_a_company_nothing_is_left_and_figures_over_all_are_computed_again(
    connection: Connection, tmp_path: Path
) -> None:
    platform = "SELECT sum(total_value) FROM analytics_revenue_monthly WHERE bucket = '2026-01-01' AND currency = 'EUR'"
    ((revenue,),) = connection.execute(platform).fetchall()
    own = f"{platform} AND company_id = 'globex'"
    ((lost,),) = connection.execute(own).fetchall()
    assert lost > 0
    done = CliRunner().invoke(main, ["erase", "--company", "globex", "--yes", "--json"])
    assert done.exit_code == 0, done.output
    given = json.loads(done.stdout)
    assert given["left"] == []
    assert naming(connection, "globex", "globex") == []
    assert connection.execute(platform).fetchall() == [(revenue - lost,)]
    cause = "SELECT company_id FROM analytics_metric_changes WHERE cause = 'a company that was erased'"
    assert connection.execute(cause).fetchall() == [(None,)]
    assert not [name for name in open_store(get_settings().artifacts_root).names_below() if "globex" in name]
    refused = CliRunner().invoke(main, ["companies", "set", "globex", "--name", "Globex", "--allow-unknown"])
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "its company was erased" in refused.stderr
    companies, kept = tmp_path / "companies.csv", tmp_path / "kept.jsonl"
    companies.write_text("company_id,name\nglobex,Globex\n")
    imported = CliRunner().invoke(main, ["companies", "import", str(companies), "--rejects", str(kept)])
    assert (imported.exit_code, "globex" in kept.read_text().lower()) == (3, False)
    file = tmp_path / "again.jsonl"
    of_globex = {**record(1, "fay"), "company_id": "globex"}
    file.write_text(f"{json.dumps(of_globex)}\n{json.dumps({**of_globex, 'value': 'much'})}\n")
    summary = ingest([Source.of(file)], connection, rejects_path=tmp_path / "rejects.jsonl")
    assert (summary.new, summary.rejected, summary.not_kept) == (0, 2, 2)
    assert naming(connection, "globex", "globex") == []
    assert "globex" not in (tmp_path / "rejects.jsonl").read_text()
