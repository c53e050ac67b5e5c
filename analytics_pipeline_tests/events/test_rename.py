"""Ids stored before ids had one form stay, are named, and are renamed with all that hangs on them."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from analytics_pipeline.cli import main
from analytics_pipeline.erp.ledger import Ledger, Recorded
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.contradictions import OnConflict
from analytics_pipeline.events.ingest import IngestSummary, ingest
from analytics_pipeline.events.model import parse_event
from analytics_pipeline.events.rename import StoredId, ids_stored_otherwise, rename_id
from analytics_pipeline.events.sources import Source
from analytics_pipeline.metrics.users import update_users, user_metrics
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment
from analytics_pipeline_tests.messages.documents import publish

DECOMPOSED, COMPOSED = "cafe\u0301", "caf\u00e9"
UNSEEN = "ac\u200bme"


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


def store_as_before(connection: Connection, raws: list[dict[str, Any]]) -> None:
    """Store events as they were stored before their ids had one form."""
    for raw in raws:
        connection.execute(
            'INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, value,'
            " currency, metadata) VALUES (%(event_id)s, %(timestamp)s, %(company_id)s, %(user_id)s, %(event_type)s,"
            " %(category)s, %(value)s, %(currency)s, %(metadata)s::jsonb)",
            {**raw, "metadata": json.dumps(raw["metadata"])},
        )


def load(connection: Connection, folder: Path, raws: list[dict[str, Any]], **options: Any) -> IngestSummary:
    path = folder / "a.jsonl"
    path.write_text(json_lines(raws))
    return ingest([Source.of(path)], connection, rejects_path=folder / "rejects.jsonl", **options)


def stored(connection: Connection) -> set[tuple[str, str]]:
    return set(connection.execute("SELECT company_id, user_id FROM analytics_events").fetchall())


def test_the_same_event_in_another_normal_form_changes_nothing(connection: Connection, tmp_path: Path) -> None:
    raws = [payment(company_id=DECOMPOSED, user_id=DECOMPOSED), payment(user_id=DECOMPOSED)]
    store_as_before(connection, raws)
    for form in (DECOMPOSED, COMPOSED):
        again = [{**raw, "user_id": form} for raw in raws]
        summary = load(connection, tmp_path, again)
        assert (summary.already_there, summary.rejected) == (2, 0)
    changed = [{**raw, "value": "1"} for raw in raws]
    assert load(connection, tmp_path, changed).conflicts == 2
    assert load(connection, tmp_path, changed, on_conflict=OnConflict.REPLACE).replaced == 2
    assert connection.execute("SELECT DISTINCT value FROM analytics_events").fetchall() == [(1,)]


def test_what_is_renamed_is_one_with_what_has_the_name_and_the_old_name_is_known(
    connection: Connection, tmp_path: Path
) -> None:
    old = [
        payment(company_id=UNSEEN, user_id=DECOMPOSED, timestamp="2025-01-30T12:00:00Z"),
        payment(company_id=UNSEEN, user_id="plain"),
        payment(company_id=DECOMPOSED, user_id="u\x7f1"),
        payment(user_id="plain"),
    ]
    store_as_before(connection, old)
    connection.execute("SELECT compress_chunk(c) FROM show_chunks('analytics_events') AS c")
    connection.execute(
        "INSERT INTO analytics_users (company_id, user_id, first_seen) VALUES"
        " ('acme', 'plain', '2025-03-01'), (%(c)s, 'plain', '2025-02-01'), (%(c)s, %(u)s, '2025-01-30')",
        {"c": UNSEEN, "u": DECOMPOSED},
    )
    connection.execute(
        "INSERT INTO analytics_company_grants (role_name, company_id, role_oid) VALUES"
        " ('a', %(c)s, 1), ('a', 'acme', 1), ('b', %(c)s, 2)",
        {"c": UNSEEN},
    )
    connection.execute(
        "INSERT INTO analytics_report_recipients"
        " (company_id, report, channel, address, corrections_from, send_at, format)"
        " VALUES (%s, 'company_reports', 'slack', 'ops', '2025-03-01', '07:30', 'link')",
        [UNSEEN],
    )
    assert load_rejects(connection, tmp_path, old) == {
        "company_id holds a character that is not seen",
        "user_id holds a character that is not seen",
    }

    listed = CliRunner().invoke(main, ["ids", "list"]).stdout
    for part in ("'ac\\u200bme': 'acme'", "'cafe\\u0301': 'caf\\xe9'", "user 'u\\x7f1' of company 'cafe\\u0301': 'u1'"):
        assert part in listed
    done = CliRunner().invoke(main, ["ids", "rename", "--json"], catch_exceptions=False)
    assert {row["present"] for row in json.loads(done.stdout)} == {"acme", COMPOSED, "u1"}

    assert stored(connection) == {("acme", COMPOSED), ("acme", "plain"), (COMPOSED, "u1")}
    assert ids_stored_otherwise(connection) == []
    users = connection.execute("SELECT company_id, user_id, first_seen FROM analytics_users ORDER BY 2").fetchall()
    assert users == [
        ("acme", COMPOSED, datetime(2025, 1, 30, tzinfo=UTC)),
        ("acme", "plain", datetime(2025, 2, 1, tzinfo=UTC)),
    ]
    grants = connection.execute("SELECT role_name, company_id, role_oid FROM analytics_company_grants ORDER BY 1")
    assert grants.fetchall() == [("a", "acme", 1), ("b", "acme", 2)]
    recipients = connection.execute(
        "SELECT company_id, active, corrections_from, send_at, format, address_key "
        "FROM analytics_report_recipients ORDER BY active"
    ).fetchall()
    as_asked = (datetime(2025, 3, 1, tzinfo=UTC), time(7, 30), "link", "slack:ops")
    assert recipients == [(UNSEEN, False, *as_asked), ("acme", True, *as_asked)]
    changes = connection.execute("SELECT company_id FROM analytics_metric_changes").fetchall()
    assert {UNSEEN, "acme", DECOMPOSED, COMPOSED} <= {company for (company,) in changes}

    summary = load(connection, tmp_path, old)
    assert (summary.already_there, summary.rejected) == (4, 0)


def load_rejects(connection: Connection, folder: Path, raws: list[dict[str, Any]]) -> set[str]:
    return set(load(connection, folder, raws).reasons)


def test_a_killed_renaming_goes_on(connection: Connection, tmp_path: Path) -> None:
    raws = [payment(company_id=UNSEEN, timestamp=f"2025-01-{day:02}T12:00:00Z") for day in (1, 2, 3)]
    store_as_before(connection, raws)
    # As a process leaves it that was killed after the first day.
    connection.execute("INSERT INTO analytics_id_aliases VALUES (%s, NULL, 'acme')", [UNSEEN])
    connection.execute(
        "UPDATE analytics_events SET company_id = 'acme' WHERE company_id = %s AND \"timestamp\" < '2025-01-02'",
        [UNSEEN],
    )
    (found,) = ids_stored_otherwise(connection)
    assert rename_id(connection, found, found.present) == 2
    assert {company for company, _ in stored(connection)} == {"acme"}


def test_one_id_can_be_given_another_name(connection: Connection) -> None:
    store_as_before(connection, [payment(company_id="\u200b"), payment(company_id=UNSEEN)])
    result = CliRunner().invoke(main, ["ids", "rename"])
    assert (result.exit_code, "can be seen: name it with --to" in result.output) == (1, True)
    done = CliRunner().invoke(main, ["ids", "rename", "--company", "\\u200b", "--to", "nameless"])
    assert done.exit_code == 0, done.output
    assert {company for company, _ in stored(connection)} == {"nameless", "acme"}
    unknown = CliRunner().invoke(main, ["ids", "rename", "--company", "acme"])
    assert (unknown.exit_code, "No id stored in another form is 'acme'" in unknown.output) == (2, True)
    with pytest.raises(AnalyticsError, match="can't be renamed: the new name 'a b ' is empty or has blanks"):
        rename_id(connection, StoredId("a\tb", None), "a b ")


def test_what_a_company_has_signed_bears_its_new_name(connection: Connection) -> None:
    store_as_before(connection, [payment(company_id=DECOMPOSED), payment(company_id=COMPOSED)])
    for company, month, withdrawn in (
        (DECOMPOSED, "2026-01", False),
        (DECOMPOSED, "2026-02", True),
        (DECOMPOSED, "2026-02", False),
        (COMPOSED, "2026-02", False),
    ):
        document = publish(connection, company, period=month).document_id
        connection.execute(
            "INSERT INTO analytics_signoffs (company_id, period, period_start, period_end, signed_by, figures_at, "
            "definitions_version, currency, document_id, document_sha256, withdrawn_at, withdrawn_by, "
            "withdrawn_because) SELECT company_id, period, %(start)s, period_end, 'Ann', now(), 2, 'EUR', document_id, "
            "sha256, CASE WHEN %(withdrawn)s THEN now() END, CASE WHEN %(withdrawn)s THEN 'Ann' END, "
            "CASE WHEN %(withdrawn)s THEN 'a mistake' END FROM analytics_report_documents "
            "WHERE document_id = %(document)s",
            {"start": f"{month}-01Z", "withdrawn": withdrawn, "document": document},
        )
    rename_id(connection, StoredId(DECOMPOSED, None), COMPOSED)
    rows = connection.execute(
        "SELECT period, withdrawn_at IS NOT NULL, company_id FROM analytics_signoffs ORDER BY signoff_id"
    )
    # Both had signed February: neither takes the place of the other.
    assert rows.fetchall() == [
        ("2026-01", False, COMPOSED),
        ("2026-02", True, COMPOSED),
        ("2026-02", False, DECOMPOSED),
        ("2026-02", False, COMPOSED),
    ]


def test_a_row_of_the_erp_is_known_by_the_name_it_was_recorded_under(connection: Connection) -> None:
    ledger = Ledger(connection)
    for form in (DECOMPOSED, COMPOSED):
        raw = payment(company_id=form, user_id=form)
        store_as_before(connection, [raw])
        event = parse_event(raw)
        recorded = Recorded.of(event._replace(company_id=form, user_id=form))
        assert ledger.describe_changes([(event, recorded)]) == [None]
        (difference,) = ledger.describe_changes([(parse_event({**raw, "value": "1"}), recorded)])
        assert difference is not None
        assert "value '29.33'" in difference


@pytest.mark.slow
def test_two_users_that_become_one_are_back_when_either_of_them_was(connection: Connection) -> None:
    of_former = [("01", "user.login"), ("05", "user.deleted"), ("10", "user.login"), ("11", "user.deleted")]
    of_present = [("02", "user.login"), ("05", "user.deleted"), ("08", "user.login"), ("12", "user.login")]
    store_as_before(
        connection,
        [
            payment(
                timestamp=f"2025-07-{day}T12:00:00Z",
                company_id=company,
                user_id="u1",
                event_type=event_type,
                category="user_activity",
                value=None,
                currency=None,
            )
            for company, events in ((DECOMPOSED, of_former), (COMPOSED, of_present))
            for day, event_type in events
        ],
    )
    july = Window.of_month(date(2025, 7, 1))
    update_users(connection, july)
    rename_id(connection, StoredId(DECOMPOSED, None), COMPOSED)
    for settle in (False, True):
        if settle:
            update_users(connection, july)
        deletions = connection.execute(
            "SELECT company_id, extract(day FROM deleted_at), extract(day FROM returned_at) "
            "FROM analytics_user_deletions ORDER BY deleted_at"
        ).fetchall()
        assert deletions == [(COMPOSED, 5, 8), (COMPOSED, 11, 12)]
        users = user_metrics(connection, COMPOSED, Window.of_dates(date(2025, 7, 12), date(2025, 7, 12)))
        assert users.total_users == 1
        counted = "SELECT sum(first_seen), sum(deleted), sum(returned) FROM analytics_user_days WHERE company_id = %s"
        assert connection.execute(counted, [COMPOSED]).fetchone() == (1, 2, 2)
