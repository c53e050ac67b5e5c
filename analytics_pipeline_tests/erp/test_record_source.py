"""Rows of an ERP become events once each, whatever its transactions and our processes do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import pytest

from analytics_pipeline.database import connect
from analytics_pipeline.erp import record_source
from analytics_pipeline.erp.corrections import accept_rows
from analytics_pipeline.erp.cursors import read_statuses, reset
from analytics_pipeline.erp.ledger import Ledger
from analytics_pipeline.erp.rejected_rows import open_rejects
from analytics_pipeline.erp.source_files import read_sources
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.bulk_load import Loaded
from analytics_pipeline.events.model import AnalyticsEvent
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.erp.conftest import use_erp
from analytics_pipeline_tests.erp.example import EXAMPLE, ExampleErp, invoice
from analytics_pipeline_tests.erp.reading import query, read, recorded, rejected, source

pytestmark = pytest.mark.slow

NO_OVERLAP = timedelta()
_PATIENCE_SECONDS = 60


def test_the_shipped_sources_record_what_the_definitions_say(erp: ExampleErp) -> None:
    erp.execute(
        invoice("A-1", "100.00"),
        invoice("draft", issued=None),
        "INSERT INTO erp.credit_notes (invoice_id, number, net_amount, issued_at) VALUES (1, 'C-1', 30, '2025-01-06Z')",
        "INSERT INTO erp.payments (company_id, user_id, invoice_id, amount, currency, received_at) VALUES "
        "('acme', 1, 1, 119.00, 'EUR', '2025-01-07Z'), ('acme', 1, NULL, 5, 'EUR', NULL)",
        "INSERT INTO erp.refunds (payment_id, amount, refunded_at) VALUES (1, 35.70, '2025-01-08Z')",
        "INSERT INTO erp.logins (user_id, logged_in_at) VALUES (1, '2025-01-09Z')",
        "UPDATE erp.users SET deleted_at = '2025-01-10Z'",
        "INSERT INTO erp.crypto_transactions (company_id, user_id, direction, asset, quantity, to_asset, to_quantity, "
        "fiat_value, fiat_currency, confirmed_at) "
        "VALUES ('acme', 1, 'swapped', 'BTC', 0.00012345, 'ETH', 0.0025, 7.41, 'EUR', '2025-01-11Z')",
        "INSERT INTO erp.subscriptions (id, company_id, user_id) VALUES (7, 'acme', 1)",
        "INSERT INTO erp.subscription_history "
        "(subscription_id, change, status, net_price, currency, billing_interval, quantity, changed_at) VALUES "
        "(7, 'started', 'active', 40.00, 'EUR', 'month', 3, '2025-01-12Z')",
    )
    for each in read_sources(get_settings()):
        result = read(each)
        assert (result.rejected, result.is_complete) == (0, True), each.name
    rows = recorded("event_type, category, value::text, currency, user_id, metadata")
    assert rows == [
        ("user.registered", "user_activity", None, None, "1", {}),
        ("invoice.created", "billing", "100.00", "EUR", "1", {"invoice": "A-1", "tax": 19.00}),
        ("invoice.credited", "billing", "-30", "EUR", "1", {"credit_note": "C-1", "invoice": "A-1", "tax": 0}),
        ("payment.received", "revenue", "119.00", "EUR", "1", {"method": "card", "invoice_id": 1}),
        ("payment.refunded", "revenue", "-35.70", "EUR", "1", {"payment_id": 1}),
        ("user.login", "user_activity", None, None, "1", {"method": "password"}),
        ("user.deleted", "user_activity", None, None, "1", {}),
        (
            "crypto.swapped", "crypto", "0.00012345", "BTC", "1",
            {"fiat_value": 7.41, "fiat_currency": "EUR", "to_currency": "ETH", "to_quantity": 0.0025},
        ),
        (
            "subscription.started", "subscription", "40.00", "EUR", "1",
            {"subscription_id": "7", "interval": "month", "interval_count": 1, "quantity": 3, "status": "active"},
        ),
    ]  # fmt: skip


def test_reading_again_changes_nothing_and_ids_come_from_source_and_key(erp: ExampleErp) -> None:
    erp.execute(invoice("A-1"), invoice("A-2"))
    assert (read().new, read().new) == (2, 0)
    again = read()
    assert (again.read, again.already_there, again.rejected) == (2, 2, 0)
    assert {row[0] for row in recorded("event_id")} == {
        uuid5(UUID("6d5ac271-158a-46b5-88f3-1971ed3f9d57"), f"invoices/invoice {number}") for number in (1, 2)
    }
    # A change of the row that is no change of the event: it is read, and that is all.
    erp.execute("UPDATE erp.invoices SET paid_at = now()")
    assert (read().new, rejected()) == (0, [])


@pytest.mark.parametrize("sees_starts", [True, False], ids=["sees when transactions began", "may only read"])
def test_a_row_that_commits_late_is_recorded_however_late(
    erp: ExampleErp, environment: pytest.MonkeyPatch, *, sees_starts: bool
) -> None:
    """Later than the overlap: rows of other transactions were read meanwhile, and the cursor is past its time."""
    if not sees_starts:
        use_erp(environment, erp.reader_url())
    invoices = source(overlap=NO_OVERLAP)
    erp.execute(invoice("before"))
    read(invoices)
    with erp.connect(autocommit=False) as late:
        # No row written yet: the transaction has no id that a snapshot could tell of.
        late.execute("SELECT now()")
        erp.execute(invoice("early-1"))
        read(invoices)
        late.execute(invoice("late").encode())
        erp.execute(invoice("early-2"))
        read(invoices)
        assert [number for number, _ in recorded()] == ["before", "early-1", "early-2"]
    assert read(invoices).new == 1
    assert ("late", "100.00") in recorded()
    cursors = [row[0] for row in query("SELECT cursor_at FROM analytics_source_cursors")]
    with erp.connect() as connection:
        assert connection.execute("SELECT max(updated_at) FROM erp.invoices").fetchall() == [(cursors[0],)]


def test_a_prepared_transaction_is_waited_for(erp: ExampleErp, environment: pytest.MonkeyPatch) -> None:
    use_erp(environment, erp.reader_url())
    invoices = source(overlap=NO_OVERLAP)
    erp.execute(invoice("before"))
    read(invoices)
    with erp.connect() as other:
        other.execute("BEGIN")
        other.execute(invoice("late").encode())
        erp.execute(invoice("early-1"))
        read(invoices)
        other.execute("PREPARE TRANSACTION 'both'")
        erp.execute(invoice("early-2"))
        read(invoices)
        other.execute("COMMIT PREPARED 'both'")
    assert read(invoices).new == 1
    assert len(recorded()) == 4


def test_a_transaction_longer_than_the_overlap_is_reported(erp: ExampleErp) -> None:
    erp.execute(invoice("before"))
    with erp.connect(autocommit=False) as idle:
        began = idle.execute("SELECT now()").fetchone()
        result = read(source(overlap=NO_OVERLAP))
        assert result.held_back_since == (began and began[0])
    assert read(source(overlap=NO_OVERLAP)).held_back_since is None


def test_an_application_whose_clock_is_behind_loses_nothing(erp: ExampleErp) -> None:
    """Its rows lie before the present by more than the overlap, and before the last probe."""
    erp.execute("ALTER TABLE erp.invoices DISABLE TRIGGER touch")
    # The smallest value of many languages, where nothing was ever set.
    erp.execute(invoice("never set"), "UPDATE erp.invoices SET updated_at = '0001-01-01Z'")
    for minute in range(3):
        erp.execute(invoice(f"A-{minute}"))
        erp.execute(f"UPDATE erp.invoices SET updated_at = '2025-03-01T10:0{minute}Z' WHERE number = 'A-{minute}'")
        assert read().new == (1 if minute else 2)


def test_a_row_that_changes_after_it_was_recorded_is_kept_as_a_reject(erp: ExampleErp) -> None:
    erp.execute(invoice("A-1"), invoice("A-2"), invoice("A-3"))
    read()
    erp.execute(
        "UPDATE erp.invoices SET issued_at = '2025-01-07T10:00Z' WHERE number = 'A-1'",
        "UPDATE erp.invoices SET net_amount = 120 WHERE number = 'A-2'",
    )
    result = read()
    assert (result.new, result.rejected) == (0, 2)
    assert result.reasons == {"recorded with other content": 2}
    assert [value for _, value in recorded()] == ["100.00"] * 3
    (first, second) = rejected()
    assert first[:2] == ("invoices", "invoice 1")
    assert "at 2025-01-05T10:00:00Z, and the row now says 2025-01-07T10:00:00Z" in first[2]
    assert "with value '100.00', and the row now says '120'" in second[2]
    assert "analytics-pipeline sources accept invoices 'invoice 2'" in second[2]
    erp.execute("UPDATE erp.invoices SET net_amount = 100 WHERE number = 'A-2'")
    read()
    assert [key for _, key, _ in rejected()] == ["invoice 1"]


def test_a_row_whose_event_was_stored_otherwise_by_another_way_is_rejected_until_it_is_accepted(
    erp: ExampleErp,
) -> None:
    erp.execute(invoice("A-1"), invoice("A-2"))
    read()
    # A ledger that was lost, and an event that another way has changed.
    query("DELETE FROM analytics_source_events RETURNING 1")
    query("UPDATE analytics_events SET value = 12 WHERE metadata ->> 'invoice' = 'A-2' RETURNING 1")
    with connect(autocommit=True) as connection:
        reset(connection, source(), datetime(2024, 1, 1, tzinfo=UTC))
    for _ in range(2):
        result = read()
        assert (result.new, result.already_there, result.rejected) == (0, 1, 1)
        assert recorded() == [("A-1", "100.00"), ("A-2", "12")]
        ((_, key, reason),) = rejected()
        assert (key, "with value '12', and the row now says '100.00'" in reason) == ("invoice 2", True)
    with connect(autocommit=True) as connection:
        accept_rows(connection, open_rejects(connection, "invoices", 10))
    assert recorded() == [("A-1", "100.00"), ("A-2", "100.00")]
    assert (read().rejected, rejected()) == (0, [])
    assert query("SELECT count(*) FROM analytics_event_conflicts") == [(0,)]


def test_a_row_is_accepted_in_a_compressed_chunk_of_many_companies(erp: ExampleErp) -> None:
    """More than 100,000 rows lie around it: the statement names company and time, and unpacks one segment."""
    # Too young for the compression policy, which would be at the same chunk.
    issued = (datetime.now(UTC) - timedelta(days=10)).isoformat()
    erp.execute(invoice("A-1", issued=issued))
    read()
    query(
        'INSERT INTO analytics_events (event_id, "timestamp", company_id, event_type, category, value, currency) '
        f"SELECT gen_random_uuid(), timestamptz '{issued}' + (e - 500) * interval '1 second', "
        "'company ' || c, 'payment.received', 'revenue', 1, 'EUR' "
        "FROM generate_series(1, 110) AS c, generate_series(1, 1000) AS e RETURNING 1"
    )
    query("SELECT compress_chunk(c)::text FROM show_chunks('analytics_events') AS c")
    erp.execute("UPDATE erp.invoices SET net_amount = 120")
    assert read().rejected == 1
    with connect(autocommit=True) as connection:
        assert accept_rows(connection, open_rejects(connection, "invoices", 10)) == 1
    assert query("SELECT value::text FROM analytics_events WHERE company_id = 'acme'") == [("120",)]
    assert query("SELECT count(*) FROM analytics_events") == [(110_001,)]


def test_a_row_that_is_no_event_keeps_no_other_from_being_recorded(erp: ExampleErp) -> None:
    erp.execute(
        invoice("A-1"),
        invoice("euro", currency="Euro"),
        invoice("never", issued="infinity"),
        invoice("ancient", issued="0044-03-15 BC"),
        invoice("none", "'NaN'"),
        invoice("A-2"),
    )
    result = read()
    assert (result.new, result.rejected) == (2, 4)
    assert [reason.split(" ")[0] for _, _, reason in rejected()] == ["currency", "timestamp", "timestamp", "value"]
    erp.execute("UPDATE erp.invoices SET currency = 'EUR' WHERE number = 'euro'")
    assert read().new == 1
    assert [key for _, key, _ in rejected()] == ["invoice 3", "invoice 4", "invoice 5"]
    assert query("SELECT source_key FROM analytics_source_rejects WHERE resolved_at IS NOT NULL") == [("invoice 2",)]


def test_a_row_dated_ahead_is_recorded_by_itself_when_its_time_comes(erp: ExampleErp) -> None:
    erp.execute(invoice("ahead", issued=(datetime.now(UTC) + timedelta(minutes=10)).isoformat()), invoice("A-1"))
    assert (read().new, read().new) == (1, 0)
    assert "more than five minutes in the future" in rejected()[0][2]
    assert "It is tried again by itself then." in rejected()[0][2]
    # The row leaves the overlap, and its time comes.
    hour = timedelta(hours=1)
    erp.execute("DELETE FROM erp.invoices")
    with connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE analytics_source_rejects SET retry_at = retry_at - %(hour)s, "
            "row = row || jsonb_build_object('timestamp', (row->>'timestamp')::timestamptz - %(hour)s)",
            {"hour": hour},
        )
        assert read_statuses(connection)["invoices"].has_due_rejects
    assert read().new == 1
    assert rejected() == []


def test_a_long_history_is_read_in_order_by_runs_of_bounded_length(
    erp: ExampleErp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages end within rows of one instant, and slices of time hold nothing or too much."""
    monkeypatch.setattr(record_source, "PAGE_ROWS", 7)
    _add_history(erp, 200)
    results = [read(max_rows=20)]
    while not results[-1].is_complete:
        results.append(read(max_rows=20))
    assert sum(result.new for result in results) == sum(result.read for result in results) == 200
    assert len(results) > 5
    assert all(result.read <= 26 for result in results)


def _add_history(erp: ExampleErp, count: int) -> None:
    """Add invoices that changed in 2024 and 2025, ten at a time."""
    step = 7200 / count
    erp.execute(
        "ALTER TABLE erp.invoices DISABLE TRIGGER touch",
        "INSERT INTO erp.invoices (company_id, number, net_amount, currency, issued_at, updated_at) "
        "SELECT 'acme', i, 1, 'EUR', timestamptz '2024-01-01Z' + i * interval '1 minute', "
        f"timestamptz '2024-01-01Z' + (i / 10) * interval '1 day' * {step} FROM generate_series(0, {count - 1}) AS i",
        "ALTER TABLE erp.invoices ENABLE TRIGGER touch",
    )


@pytest.mark.faults
def test_a_killed_run_leaves_nothing_half_done(erp: ExampleErp, environment: pytest.MonkeyPatch) -> None:
    _add_history(erp, 12_000)
    command = [sys.executable, "-m", "analytics_pipeline", "sources", "run", "invoices"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ.copy())
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while query("SELECT count(*) FROM analytics_source_cursors WHERE position_at IS NOT NULL") == [(0,)]:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ((events, known, total),) = query(
        "SELECT (SELECT count(*) FROM analytics_events), (SELECT count(*) FROM analytics_source_events), total_new "
        "FROM analytics_source_cursors"
    )
    assert 0 < events == known == total < 12_000
    result = read()
    # It went on behind the last page that was in.
    assert (result.read, result.new) == (12_000 - events, 12_000 - events)
    assert (result.is_complete, len(recorded())) == (True, 12_000)


def test_a_run_that_dies_between_the_days_of_a_page_loses_none_of_them(
    erp: ExampleErp, monkeypatch: pytest.MonkeyPatch
) -> None:
    erp.execute(*(invoice(f"A-{day}", issued=f"2025-01-0{day}Z") for day in (1, 2, 3)))
    days: list[object] = []

    def die(self: Ledger, events: Sequence[AnalyticsEvent]) -> Loaded:
        days.append(events)
        if len(days) == 2:
            raise KeyboardInterrupt
        return _record(self, events)

    _record = Ledger.record
    monkeypatch.setattr(Ledger, "record", die)
    with pytest.raises(KeyboardInterrupt):
        read()
    assert recorded() == [("A-1", "100.00")]
    assert (read().new, len(recorded())) == (2, 3)


def test_of_two_runs_at_once_the_older_one_stops(erp: ExampleErp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_source, "PAGE_ROWS", 10)
    _add_history(erp, 50)
    newer: list[record_source.SourceResult | None] = []

    def overtake(_: object) -> None:
        if not newer:
            newer.append(None)
            newer[0] = read()

    with connect(autocommit=True) as connection:
        older = record_source.record_source(connection, get_settings(), source(), progress=overtake)
        assert (older.taken_over, older.new) == (True, 10)
        assert newer[0] is not None
        assert (newer[0].taken_over, newer[0].new) == (False, 40)
        assert read_statuses(connection)["invoices"].failures == 0
    assert len(recorded()) == 50


def test_reset_reads_again_and_harms_nothing(erp: ExampleErp) -> None:
    erp.execute(invoice("A-1"))
    read(source(overlap=NO_OVERLAP))
    _add_history(erp, 20)
    assert read(source(overlap=NO_OVERLAP)).new == 0, "imported with times of long ago"
    with connect(autocommit=True) as connection:
        with pytest.raises(AnalyticsError, match="has not been read up to 2099-01-01 yet"):
            reset(connection, source(), datetime(2099, 1, 1, tzinfo=UTC))
        reset(connection, source(), datetime(2024, 1, 1, tzinfo=UTC))
    again = read(source(overlap=NO_OVERLAP))
    assert (again.new, again.already_there, again.rejected) == (20, 1, 0)


def test_a_history_may_begin_where_a_person_says(erp: ExampleErp) -> None:
    _add_history(erp, 20)
    with connect(autocommit=True) as connection:
        reset(connection, source(), datetime(2024, 12, 1, tzinfo=UTC))
    assert read().new == 10


@pytest.fixture
def same_database(database: Database, environment: pytest.MonkeyPatch) -> Iterator[ExampleErp]:
    """An ERP whose tables are in the database of the events: on the embedded server both share one session."""
    erp = ExampleErp(database.url)
    erp.execute("DROP SCHEMA IF EXISTS erp CASCADE", *EXAMPLE)
    use_erp(environment, erp.url)
    yield erp
    erp.execute("DROP SCHEMA erp CASCADE")


def test_an_erp_in_the_database_of_the_events_is_read_too(same_database: ExampleErp) -> None:
    same_database.execute(invoice("A-1"), invoice("euro", currency="Euro"))
    assert (read().new, read().new) == (1, 0)
    same_database.execute(invoice("A-2"))
    assert read().new == 1
    assert len(rejected()) == 1


def test_of_each_reason_the_first_rows_are_kept_and_the_others_counted(
    erp: ExampleErp, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("ANALYTICS_REJECTS_KEPT", "2")
    get_settings.cache_clear()
    erp.execute(*(invoice(f"A-{number}", currency="Euro") for number in range(5)))
    erp.execute(invoice("B-1"), invoice("B-2", issued="2999-01-01T00:00Z"), invoice("B-3", issued="2999-01-01T00:00Z"))
    erp.execute(invoice("B-4", issued="2999-01-01T00:00Z"))
    for _ in range(2):
        result = read("invoices")
        assert (result.read, result.rejected, result.not_kept) == (9, 8, 3)
        # What is tried again by itself is always kept.
        assert [key for _, key, _ in rejected()] == [f"invoice {number}" for number in (1, 2, 7, 8, 9)]
    erp.execute("UPDATE erp.invoices SET currency = 'EUR' WHERE id IN (1, 3)")
    assert (read("invoices").new, [key for _, key, _ in rejected()][:2]) == (2, ["invoice 2", "invoice 4"])
