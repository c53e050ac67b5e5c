"""Events and figures: lag, silence, times, types, currencies, and the proof of what is closed."""

from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from analytics_pipeline.ages import NEVER
from analytics_pipeline.cli import main
from analytics_pipeline.database import migrate
from analytics_pipeline.health.check_result import State
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.policies import policy_values
from analytics_pipeline.timescale.refresh import materialized_tables, refresh
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.health.conftest import Ask, setting

HOURLY, DAILY, MONTHLY = (f"analytics_revenue_{name}" for name in ("hourly", "daily", "monthly"))
BY_NAME = {a.name: a for a in AGGREGATES}


def _ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).replace(tzinfo=None).isoformat()


def _close(connection: Connection, name: str, start: datetime, end: datetime) -> None:
    granularity = BY_NAME[name].granularity
    refresh(connection, BY_NAME[name], Window(granularity.floor(start), granularity.ceil(end)))


@pytest.fixture(autouse=True)
def _from_the_beginning(monkeypatch: pytest.MonkeyPatch, environment: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, start="2020-01-01")


def test_an_empty_database_passes_and_says_so(ask: Ask) -> None:
    assert "no events to close yet" in ask("up_to_date", HOURLY).summary
    assert "no events yet" in ask("events_arrive").summary
    assert ask("known_event_types").passed
    assert "no amounts yet" in ask("currencies_present").summary
    assert "Nothing is closed yet" in ask("reconciles_with_events", HOURLY).summary


@pytest.mark.slow
@pytest.mark.parametrize(("name", "age"), [(HOURLY, 5.0), (DAILY, 50.0), (MONTHLY, 70 * 24.0)])
def test_events_that_should_be_closed_make_an_aggregate_late_until_it_is_closed(
    ask: Ask, connection: Connection, name: str, age: float
) -> None:
    event = _ago(hours=age)
    add_event(connection, event)
    finding = ask("up_to_date", name)
    assert finding.state is State.ERROR
    assert "wait to be closed" in finding.summary
    assert finding.metadata["hours since its bucket ended"] > finding.limits["hours allowed"]
    assert finding.remedies[0].startswith("analytics-pipeline close --start")
    for level in (HOURLY, DAILY, MONTHLY)[: (HOURLY, DAILY, MONTHLY).index(name) + 1]:
        _close(connection, level, at(event), at(event) + timedelta(minutes=1))
    assert ask("up_to_date", name).passed, ask("up_to_date", name).text


@pytest.mark.slow
def test_backfilling_old_data_does_not_turn_a_dead_pipeline_green(ask: Ask, connection: Connection) -> None:
    add_event(connection, "2025-01-05T10:10")
    add_event(connection, _ago(hours=5))
    _close(connection, HOURLY, at("2025-01-05T00:00"), at("2025-01-06T00:00"))
    assert not ask("up_to_date", HOURLY).passed


@pytest.mark.slow
def test_events_of_the_open_hour_and_of_other_kinds_are_no_lag(ask: Ask, connection: Connection) -> None:
    add_event(connection, _ago(minutes=1))
    add_event(connection, _ago(hours=30), "user.login", category="user_activity", value=None, currency=None)
    assert ask("up_to_date", HOURLY).passed
    assert not ask("up_to_date", "analytics_event_volume_hourly").passed


@pytest.mark.slow
def test_closed_hours_without_events_are_no_lag_though_the_watermark_stays(ask: Ask, connection: Connection) -> None:
    add_event(connection, _ago(hours=30))
    _close(connection, HOURLY, at(_ago(hours=30)), datetime.now(UTC) - timedelta(hours=2))
    assert ask("up_to_date", HOURLY).passed


@pytest.mark.slow
def test_silence_is_a_warning(ask: Ask, connection: Connection) -> None:
    add_event(connection, _ago(days=60))
    finding = ask("events_arrive")
    assert finding.state is State.WARNING
    assert "no event has happened since" in finding.summary.lower()
    assert finding.metadata["hours of silence"] > finding.limits["hours allowed"]
    add_event(connection, _ago(hours=1))
    assert ask("events_arrive").passed


def test_a_future_event_is_an_error_whose_remedy_removes_it(ask: Ask, connection: Connection) -> None:
    add_event(connection, _ago(minutes=-3))
    assert ask("event_times").passed, "clocks may differ by some minutes"
    add_event(connection, _ago(days=-3))
    finding = ask("event_times")
    assert finding.state is State.ERROR
    assert "1 events are dated in the future" in finding.summary
    connection.execute(finding.remedies[0])
    assert ask("event_times").passed


def test_an_event_before_the_first_partition_is_a_warning(
    ask: Ask, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_event(connection, "2019-05-05T12:00")
    finding = ask("event_times")
    assert finding.state is State.WARNING
    assert finding.remedies == ("ANALYTICS_START=2019-05-01",)
    setting(monkeypatch, start="2019-05-01")
    assert ask("event_times").passed


def test_unknown_types_are_a_warning_and_features_are_known(ask: Ask, connection: Connection) -> None:
    add_event(connection, _ago(hours=1), "feature.export", category="user_activity", value=None, currency=None)
    assert ask("known_event_types").passed
    add_event(connection, _ago(hours=1), "voucher.redeemed", category="billing")
    finding = ask("known_event_types")
    assert finding.state is State.WARNING
    assert "voucher.redeemed in billing (1 events" in finding.summary


@pytest.mark.parametrize(
    ("event_type", "category", "text"),
    [
        ("payment.received", "billing", "known types stand in the wrong category"),
        ("payment.received", "Revenue", "events of unknown categories are in no figure"),
    ],
)
def test_a_category_that_falsifies_figures_is_an_error_whose_remedy_corrects_it(
    ask: Ask, connection: Connection, event_type: str, category: str, text: str
) -> None:
    add_event(connection, _ago(hours=1), event_type, category=category)
    finding = ask("known_event_types")
    assert finding.state is State.ERROR
    assert text in finding.summary.lower()
    connection.execute(finding.remedies[0].replace("<one of the known>", "revenue"))
    assert ask("known_event_types").passed


@pytest.mark.parametrize(
    ("event_type", "category"),
    [("payment.received", "revenue"), ("crypto.sent", "crypto"), ("invoice.created", "billing")],
)
def test_amounts_without_a_proper_currency_are_found_in_every_category_and_the_remedy_corrects_them(
    ask: Ask, connection: Connection, event_type: str, category: str
) -> None:
    add_event(connection, _ago(hours=1), event_type, category=category, company_id="o'neil")
    assert ask("currencies_present").passed
    for currency, named in ((None, "no currency"), ("eur", "'eur'"), ("€", "'€'")):
        add_event(connection, _ago(hours=1), event_type, category=category, company_id="o'neil", currency=currency)
        finding = ask("currencies_present")
        assert finding.state is State.ERROR
        assert f"o'neil: 1 {category} events with {named}" in finding.summary
        connection.execute(finding.remedies[0].replace("<the right one>", "EUR"))
        assert ask("currencies_present").passed


def test_several_currencies_of_a_company_are_reported_and_no_fault(ask: Ask, connection: Connection) -> None:
    add_event(connection, _ago(hours=1), currency="EUR")
    add_event(connection, _ago(hours=1), currency="USD")
    finding = ask("currencies_present")
    assert finding.passed
    assert finding.metadata["companies with several revenue currencies"] == ["acme"]


@pytest.mark.slow
def test_tampered_rows_are_reported_by_company_bucket_and_both_values_and_the_remedy_fixes_them(
    ask: Ask, connection: Connection
) -> None:
    event = _ago(days=2)
    add_event(connection, event, company_id="beta", value="10.00")
    add_event(connection, event, company_id="acme", value="3.00")
    _close(connection, HOURLY, at(event), at(event) + timedelta(minutes=1))
    assert "All 2 stored rows" in ask("reconciles_with_events", HOURLY).summary
    table = materialized_tables(connection)[HOURLY].identifier.as_string(connection)
    connection.execute(f"UPDATE {table} SET total_value = 20 WHERE company_id = 'beta'")
    finding = ask("reconciles_with_events", HOURLY)
    assert finding.state is State.ERROR
    bucket = f"{Granularity.HOUR.floor(at(event)):%Y-%m-%dT%H:%MZ}"
    assert (
        f"company beta, hour {bucket}, currency EUR: total_value is 20.00 stored and 10.00 in the events"
        in finding.summary
    )
    assert "acme" not in finding.summary
    assert finding.metadata["differences"] == len(finding.metadata["differing rows"]) == 2
    assert finding.remedies[0].startswith("analytics-pipeline close")
    connection.execute(finding.remedies[1].split(" -- ")[0])
    assert ask("reconciles_with_events", HOURLY).passed


def test_missing_and_doubled_rows_are_reported(ask: Ask, connection: Connection) -> None:
    event = _ago(days=2)
    for company in ("acme", "beta"):
        add_event(connection, event, company_id=company)
    _close(connection, HOURLY, at(event), at(event) + timedelta(minutes=1))
    table = materialized_tables(connection)[HOURLY].identifier.as_string(connection)
    connection.execute(f"DELETE FROM {table} WHERE company_id = 'acme'")
    connection.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE company_id = 'beta'")
    summary = ask("reconciles_with_events", HOURLY).summary
    assert "event_count is missing stored and 1 in the events" in summary
    assert "company beta" in summary


def test_late_events_are_left_to_be_closed_again_and_change_elsewhere_is_still_found(
    ask: Ask, connection: Connection
) -> None:
    first, second = _ago(days=3), _ago(days=2)
    add_event(connection, first)
    add_event(connection, second)
    _close(connection, HOURLY, at(first), at(second) + timedelta(minutes=1))
    add_event(connection, first, value="0.01")
    assert ask("reconciles_with_events", HOURLY).passed
    table = materialized_tables(connection)[HOURLY].identifier.as_string(connection)
    connection.execute(f"UPDATE {table} SET event_count = 7")
    finding = ask("reconciles_with_events", HOURLY)
    assert f"{Granularity.HOUR.floor(at(second)):%Y-%m-%dT%H:%MZ}" in finding.summary
    assert finding.metadata["differences"] == 2


@pytest.mark.slow
def test_what_has_expired_is_not_held_against_the_aggregate(
    ask: Ask, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = _ago(days=25), _ago(days=1)
    add_event(connection, old)
    add_event(connection, new)
    _close(connection, HOURLY, at(old), at(new) + timedelta(minutes=1))
    connection.execute("SELECT drop_chunks('analytics_events', now() - interval '10 days')")
    assert ask("reconciles_with_events", HOURLY).passed
    assert policy_values(connection).retention == NEVER
    migrate()


@pytest.mark.slow
def test_ids_in_another_form_are_named_until_they_are_renamed(ask: Ask, connection: Connection) -> None:
    assert ask("ids_stored_otherwise").passed
    connection.execute(
        'INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category)'
        " VALUES (gen_random_uuid(), now() - interval '1 day', %s, %s, 'user.login', 'user_activity')",
        ["ac\u200bme", "cafe\u0301"],
    )
    finding = ask("ids_stored_otherwise")
    assert (finding.state, finding.metadata["number of them"]) == (State.WARNING, 2)
    assert "user 'cafe\\u0301' of company 'ac\\u200bme'" in finding.summary
    (remedy,) = finding.remedies
    assert CliRunner().invoke(main, remedy.split()[1:]).exit_code == 0
    assert ask("ids_stored_otherwise").passed
