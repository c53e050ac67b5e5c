"""Where an id stands, and what only looks like it."""

import io
import json
import pickle
import zipfile
from datetime import UTC, datetime

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from analytics_pipeline.erasure.file_texts import texts_of, without
from analytics_pipeline.erasure.subject import Subject, any_names, is_told
from analytics_pipeline.events.erased import ErasedIds
from analytics_pipeline.events.line_workers import Chunk, parse_chunk
from analytics_pipeline.events.model import Parsing

ANN, NOW = "ann@example.com", "erased-user-1@erased.invalid"
PERSON = Subject("acme", ANN, {ANN: NOW}, frozenset({ANN}))
PLAIN = Subject("acme", "17", {"17": NOW}, frozenset())
COMPANY = Subject("acme", None, {"acme": "erased-company-1"}, frozenset())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ANN, NOW),
        (f"Mail to {ANN}.", f"Mail to {NOW}."),
        (f"<Ann@Example.com>, {ANN}", f"<{NOW}>, {NOW}"),
        (f"joann@example.com {ANN}.au x.{ANN} {ANN}-2", f"joann@example.com {ANN}.au x.{ANN} {ANN}-2"),
        (f"{ANN}.pdf {ANN}.Next of {ANN}.AU", f"{NOW}.pdf {NOW}.Next of {ANN}.AU"),
        ("ann%40example.com", NOW),
        ("by%20ann%40example.com", f"by%20{NOW}"),
        (rf"said\n{ANN}", rf"said\n{NOW}"),
        (json.dumps({"user_id": ANN}), json.dumps({"user_id": NOW})),
    ],
)
def test_an_id_is_found_as_a_whole_word_in_every_form(text: str, expected: str) -> None:
    assert PERSON.text(text) == expected


def test_a_plain_id_is_found_where_an_id_stands_and_nowhere_else() -> None:
    told = [id_ for id_ in ("17", "alice", "2026-01", "user-17", ANN, "4711471147", "active") if is_told(id_)]
    assert told == ["user-17", ANN, "4711471147"]
    assert PLAIN.text("17") == NOW
    assert PLAIN.text('17 of 17, "user_id": "17"') == '17 of 17, "user_id": "17"'
    assert COMPANY.text('of acme, \\"company_id\\": \\"acme\\"') == 'of acme, \\"company_id\\": \\"erased-company-1\\"'
    value = {"user_id": 17, "company_id": "acme", "quantity": "17", "metadata": {"name": "A. Smith", "quantity": 17}}
    assert PLAIN.json(value) == {**value, "user_id": NOW, "metadata": {"quantity": 17}}
    # Of another company.
    assert PLAIN.json({**value, "company_id": "globex"}) == {**value, "company_id": "globex"}
    # A change of a subscription as it would be otherwise.
    row = {"company_id": "acme", "user_id": "17", "event_user_id": "17", "quantity": 17}
    assert PLAIN.json(row) == {**row, "user_id": NOW, "event_user_id": NOW}
    # In the figures of a document over all companies, and in its table.
    assert COMPANY.json({"name": "companies/mrr/acme", "label": "Companies, acme: MRR"}) == {
        "name": "companies/mrr/erased-company-1",
        "label": "Companies, erased-company-1: MRR",
    }
    assert [any_names(COMPANY, [page]) for page in ("acme 1,000.00 5.0%", "the acme of it")] == [True, False]


def test_a_company_is_found_before_endings_of_files_and_a_part_of_a_longer_word_is_suspected() -> None:
    company = Subject("acme-2", None, {"acme-2": "erased-company-1"}, frozenset({"acme-2"}))
    text = "companies/acme-2.pdf acme-2.json acme-2.Next acme-2.tar"
    assert company.text(text) == text.replace("acme-2", "erased-company-1", 3)
    assert company.suspects(text)
    person = Subject("acme", "user-1", {"user-1": "erased-user-ab"}, frozenset({"user-1"}))
    suspected = [
        text for text in ("user-1", "of user-1.", "user-17", "superuser-1", "sub-user-1", "USER-1_card", "1")
        if person.suspects(text)
    ]  # fmt: skip
    assert suspected == ["sub-user-1", "USER-1_card"]
    assert not PLAIN.suspects("sub-17")


def test_records_are_told_by_digests_as_they_are_by_the_ids() -> None:
    several = 'O\'Brien "the 1st"'
    known = ErasedIds(b"k" * 32).with_users("acme", [ANN, several, "17"], NOW, {ANN, several})
    person = Subject("acme", ANN, dict.fromkeys((ANN, several), NOW), frozenset({ANN, several}))
    for form in ("{}", "Mail to {}.", "{}.au {}.AU x.{} {}-2", "of {}.pdf, {}.jsonl.gz {}.Next", "x{} \\n{} <{}>,{}"):
        for id_ in (ANN, several, "Ann@Example.com", "ann%40example.com"):
            text = form.replace("{}", id_)
            assert known.text("acme", text) == person.text(text), text
            assert (known.text("acme", text) == text) == ("{}-2" in form), text
    assert (known.text("globex", ANN), known.text("acme", "of 17")) == (ANN, "of 17")
    # As a key, and as a part of a subscription's name.
    value = {ANN: [several, {several: 1}], "subscription_id": f"sub-{ANN}-card", "plan": f"sub-{ANN}-card"}
    assert known.value("acme", value) == {
        NOW: [NOW, {NOW: 1}], "subscription_id": f"sub-{NOW}-card", "plan": f"sub-{ANN}-card"
    }  # fmt: skip
    content = {"company_id": "acme", "user_id": "bob", "metadata": {"by": f"for {several}"}}
    assert known.record("acme", content, json.dumps(content)) == "(a record of an erased person)"
    # As the processes that parse lines get it.
    line = json.dumps({"event_id": "1", "timestamp": "2026-01-01T00:00Z", "company_id": "acme", "user_id": ANN})
    line = line.replace("}", ', "event_type": "feature.tried", "category": "user_activity"}\n')
    parsing = pickle.loads(pickle.dumps(Parsing(erased=known)))  # noqa: S301 - of ours
    rows = parse_chunk(Chunk(1, line.encode(), datetime(2027, 1, 1, tzinfo=UTC)), parsing).rows
    assert (NOW.encode() in rows, ANN.encode() in rows) == (True, False)
    assert known.row({"company_id": "acme", "user_id": ANN, "source_key": f"deleted {ANN}", "metadata": "{}"}) == {
        "company_id": "acme", "user_id": NOW, "source_key": f"deleted {NOW}", "metadata": None
    }  # fmt: skip


def test_files_are_written_anew_in_their_own_form_and_others_stay_to_the_byte() -> None:
    rows = [
        {"user_id": ANN, "company_id": "acme", "value": 1.5, "metadata": '{"name": "A. Smith", "status": "active"}'},
        {"user_id": "bob", "company_id": "acme", "value": 2.5, "metadata": None},
    ]
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), target)
    table = pq.read_table(io.BytesIO(without(PERSON, "a.parquet", target.getvalue())))
    assert table.to_pylist() == [{**rows[0], "user_id": NOW, "metadata": '{"status":"active"}'}, rows[1]]
    lines = "".join(f"{json.dumps(row)}\r\n" for row in rows).encode("utf-16")
    changed = without(PERSON, "a.jsonl", lines)
    assert [json.loads(line)["user_id"] for line in changed.decode("utf-16").splitlines()] == [NOW, "bob"]
    assert without(PERSON, "a.jsonl", changed) == changed
    assert without(COMPANY, "a.jsonl", lines).decode("utf-16") == ""
    others = b'{"company_id": "globex", "user_id": "17"}\n\xff\n'
    assert without(PLAIN, "a.jsonl", others) == others
    cells = b"company_id,user_id,value\r\nacme,17,17\r\nacme,18,17\r\nglobex,17,17\r\n"
    expected = f"company_id,user_id,value\r\nacme,{NOW},17\r\nacme,18,17\r\nglobex,17,17\r\n"
    assert without(PLAIN, "a.csv", cells) == expected.encode()
    # Whose number it is there nobody knows.
    rejects = b'{"record": "acme;17;1", "reason": "of 17"}\n{"record": "x\xe2\x80\xa8y"}\n'
    assert without(PLAIN, "a.jsonl", rejects) == rejects
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("revenue.csv", f"user\n{ANN}\n")
    assert any_names(PERSON, texts_of("a.zip", archive.getvalue()))
