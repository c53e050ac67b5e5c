"""Contradictions are named until somebody decides, and so is an id at two instants."""

import json
import shlex
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from analytics_pipeline.cli import main
from analytics_pipeline.events import RejectedEvent, new_event, parse_event, record_events
from analytics_pipeline.health import contradictions
from analytics_pipeline.health.check_result import State
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.events.sample_records import json_lines, payment
from analytics_pipeline_tests.health.conftest import Ask

DATA = Path(__file__).parents[1] / "events" / "data"


def test_a_contradiction_is_named_until_the_event_is_replaced(ask: Ask, connection: Connection, tmp_path: Path) -> None:
    assert ask("events_contradicted").state is State.OK
    stored = payment(value="120.00")
    record_events([parse_event(stored)], connection=connection)
    path = tmp_path / "later.jsonl"
    path.write_text(json_lines([{**stored, "value": "12.00", "user_id": "u-2"}]))
    runner = CliRunner()
    rejects = ["--rejects", str(tmp_path / "rejects.jsonl")]
    assert runner.invoke(main, ["ingest", str(path), *rejects]).exit_code == 3
    finding = ask("events_contradicted")
    assert finding.state is State.WARNING
    for part in (stored["event_id"], "acme", str(path), "user_id, value"):
        assert part in finding.summary
    assert finding.metadata["undecided contradictions"] == 1
    replace, _ = finding.remedies
    _, *arguments = shlex.split(replace.replace("FILE", str(path)))
    assert runner.invoke(main, [*arguments, *rejects]).exit_code == 0
    assert ask("events_contradicted").state is State.OK


def test_a_contradiction_is_named_until_somebody_keeps_the_event(ask: Ask, connection: Connection) -> None:
    for number in range(5):
        event = new_event("acme", "u", "payment.received", "revenue", number, "EUR")
        record_events([event], connection=connection)
        with pytest.raises(RejectedEvent):
            record_events([event._replace(value=Decimal(99))], connection=connection)
    finding = ask("events_contradicted")
    assert finding.metadata["undecided contradictions"] == 5
    assert "and 2 more" in finding.summary
    for left in range(4, -1, -1):
        _, keep = ask("events_contradicted").remedies
        connection.execute(keep)
        assert ask("events_contradicted").metadata["undecided contradictions"] == left
    assert ask("events_contradicted").passed


def test_a_row_of_the_erp_that_changed_is_named_with_the_command_that_accepts_it(
    ask: Ask, connection: Connection
) -> None:
    connection.execute(
        "INSERT INTO analytics_source_rejects (source, source_key, kind, reason, row) VALUES "
        "('invoices', 'invoice 7', 'recorded with other content', 'already recorded with ...', %s), "
        "('invoices', 'invoice 8', 'currency of the wrong form', 'currency ...', %s)",
        [json.dumps({"company_id": "acme"})] * 2,
    )
    finding = ask("events_contradicted")
    assert finding.metadata["undecided contradictions"] == 1
    assert finding.remedies == ("analytics-pipeline sources accept invoices 'invoice 7'",)
    connection.execute("UPDATE analytics_source_rejects SET resolved_at = now()")
    assert ask("events_contradicted").passed


def test_one_id_at_two_instants_is_named_until_one_of_them_is_gone(ask: Ask, connection: Connection) -> None:
    (event,) = [parse_event(json.loads(line)) for line in (DATA / "conflict_1.jsonl").read_text().splitlines()]
    (moved,) = [parse_event(json.loads(line)) for line in (DATA / "conflict_3.jsonl").read_text().splitlines()]
    record_events([event], connection=connection)
    assert ask("one_id_at_two_instants").state is State.OK
    record_events([moved], connection=connection)
    finding = ask("one_id_at_two_instants")
    assert finding.state is State.WARNING
    assert str(event.event_id) in finding.summary
    assert "2026-01-15T12:00:00.000000Z and 2026-01-15T12:00:00.001000Z" in finding.summary
    (remedy,) = finding.remedies
    connection.execute(remedy)
    assert ask("one_id_at_two_instants").state is State.OK


def test_instants_may_be_years_apart_and_in_compressed_chunks(ask: Ask, connection: Connection) -> None:
    event = new_event("acme", "u", "user.login", "user_activity", timestamp=datetime(2023, 1, 1, tzinfo=UTC))
    record_events([event, event._replace(timestamp=event.timestamp + timedelta(days=900))], connection=connection)
    # The compression policy may be at the same chunks.
    with suppress(psycopg.errors.DuplicateObject):
        connection.execute("SELECT compress_chunk(c) FROM show_chunks('analytics_events') AS c")
    assert str(event.event_id) in ask("one_id_at_two_instants").summary


def test_what_was_there_long_ago_and_what_another_company_has_is_not_named(ask: Ask, connection: Connection) -> None:
    event = new_event("acme", "u", "user.login", "user_activity", timestamp=datetime(2025, 1, 1, tzinfo=UTC))
    later = event.timestamp + timedelta(hours=1)
    record_events([event, event._replace(timestamp=later, company_id="globex")], connection=connection)
    assert ask("one_id_at_two_instants").passed
    record_events([event._replace(timestamp=later + timedelta(hours=1))], connection=connection)
    assert not ask("one_id_at_two_instants").passed
    connection.execute("UPDATE analytics_events SET ingested_at = now() - interval '36 days'")
    assert ask("one_id_at_two_instants").passed


def test_of_very_many_events_a_share_of_the_ids_is_compared(
    ask: Ask, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    instants = [datetime(2025, 1, day, tzinfo=UTC) for day in (1, 2)]
    events = [new_event("acme", "u", "user.login", "user_activity", timestamp=instants[0]) for _ in range(400)]
    record_events([*events, *(event._replace(timestamp=instants[1]) for event in events)], connection=connection)
    connection.execute("ANALYZE analytics_events")
    assert ask("one_id_at_two_instants").metadata["ids at several instants"] == 400
    monkeypatch.setattr(contradictions, "MAX_IDS", 200)
    finding = ask("one_id_at_two_instants")
    assert finding.metadata["share of the ids that was compared"] == "1 in 4"
    assert 50 < finding.metadata["ids at several instants"] < 150
