"""Alerts begin once, end once, and are told once, whatever is evaluated or closed again, and however often."""

import json
import threading
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from analytics_pipeline.alerts import lifecycle
from analytics_pipeline.alerts.active_rules import lock_alerts
from analytics_pipeline.alerts.alert_check import evaluate_window, update_alerts
from analytics_pipeline.alerts.closed_figures import certain, read_figures
from analytics_pipeline.alerts.lifecycle import open_alerts
from analytics_pipeline.alerts.rule_metrics import METRICS
from analytics_pipeline.alerts.rules import Rule
from analytics_pipeline.alerts.rules_file import load_rules
from analytics_pipeline.events.record import record_event
from analytics_pipeline.metrics.revenue import mrr_figures, revenue_metrics
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.tables import REVENUE_METRICS, USER_METRICS
from analytics_pipeline.metrics.users import user_metrics
from analytics_pipeline.reports.sections.alerts import fired_alerts
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.alerts.figures_factory import close_revenue, close_users, start_of
from analytics_pipeline_tests.alerts.sample_rules import rule
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import close, days

NOW = datetime(2026, 6, 2, tzinfo=UTC)


def _update(
    connection: Connection, *, now: datetime = NOW, granularity: Granularity = Granularity.MONTH
) -> tuple[int, int, int]:
    """Evaluate the latest closed month of revenue; return how many alerts began, ended, and were told."""
    changes = update_alerts(connection, REVENUE_METRICS, granularity, now)
    return changes.opened, changes.resolved, changes.messages


def _subjects(connection: Connection) -> list[str]:
    return [subject for (subject,) in connection.execute("SELECT subject FROM analytics_outbox ORDER BY outbox_id")]


def _states(connection: Connection) -> list[tuple[object, ...]]:
    query = "SELECT company_id, state, resolution FROM analytics_alerts ORDER BY alert_id"
    return connection.execute(query).fetchall()


def _months(connection: Connection, *revenue: str, company: str = "acme") -> None:
    """Close the months from January 2026 on with the revenue of a company."""
    for number, amount in enumerate(revenue, start=1):
        close_revenue(connection, f"2026-{number:02}", {company: amount})


@pytest.mark.slow
def test_an_alert_is_notified_when_it_begins_and_when_it_is_over(connection: Connection) -> None:
    load_rules(connection, [rule()])
    _months(connection, "150")
    assert _update(connection) == (0, 0, 0)
    _months(connection, "150", "80")
    assert _update(connection) == (1, 0, 1)
    # Neither evaluating nor closing again tells again, nor does another month like it.
    assert _update(connection) == (0, 0, 0)
    _months(connection, "150", "80", "70")
    assert _update(connection) == (0, 0, 0)
    (alert,) = open_alerts(connection)
    assert (alert.first_period, alert.last_period) == (start_of("2026-02"), start_of("2026-03"))
    assert (alert.shown, alert.threshold, alert.notified_at is not None) == ("70.00 EUR", "below 100 EUR", True)
    _months(connection, "150", "80", "70", "100")
    assert _update(connection) == (0, 1, 1)
    assert _update(connection) == (0, 0, 0)
    # And begins anew.
    _months(connection, "150", "80", "70", "100", "99.99")
    assert _update(connection) == (1, 0, 1)
    assert _subjects(connection) == [
        "[error] low-revenue: acme total_revenue 80.00 EUR (below 100 EUR) 2026-02",
        "[resolved] low-revenue: acme total_revenue 100.00 EUR (below 100 EUR) 2026-04",
        "[error] low-revenue: acme total_revenue 99.99 EUR (below 100 EUR) 2026-05",
    ]
    assert _states(connection) == [("acme", "resolved", "recovered"), ("acme", "firing", None)]


def test_a_late_correction_of_the_latest_period_is_notified_as_one(connection: Connection) -> None:
    load_rules(connection, [rule()])
    _months(connection, "150", "80")
    _update(connection)
    _months(connection, "150", "120")
    assert _update(connection) == (0, 1, 1)
    assert _subjects(connection)[1] == "[corrected] low-revenue: acme total_revenue 120.00 EUR (below 100 EUR) 2026-02"
    assert _states(connection) == [("acme", "resolved", "corrected")]


def test_a_correction_of_the_period_before_counts_where_the_latest_is_compared_with_it(connection: Connection) -> None:
    load_rules(connection, [rule(id="falls", change="-20 %"), rule(id="twice", periods="2 of 2")])
    _months(connection, "90", "50")
    assert _update(connection) == (2, 0, 2)
    _months(connection, "150", "80")
    assert _update(connection) == (0, 1, 1)
    _months(connection, "100", "80")
    assert _update(connection) == (0, 1, 1)
    assert [subject.partition(":")[0] for subject in _subjects(connection)] == [
        "[error] falls",
        "[error] twice",
        "[corrected] twice",
        "[corrected] falls",
    ]


def test_closing_old_periods_again_is_judged_and_notifies_nobody(connection: Connection) -> None:
    load_rules(connection, [rule()])
    _months(connection, *["150"] * 4)
    _update(connection)
    _months(connection, "50", "60", "150", "150")
    assert _update(connection) == (0, 0, 0)
    window = Window(start_of("2026-01"), NOW)
    judged = list(evaluate_window(connection, REVENUE_METRICS, Granularity.MONTH, window, [rule()]))
    assert [j.period.start for j in judged if j.fires] == [start_of("2026-01"), start_of("2026-02")]
    assert len(judged) == 4


def test_a_new_version_of_the_definitions_begins_and_ends_no_alert(connection: Connection) -> None:
    load_rules(connection, [rule(), rule(id="falls", change="-20 %")])
    _months(connection, "100", "99", "120")
    assert _update(connection) == (0, 0, 0)

    def restate(month: str, revenue: str) -> None:
        version = DEFINITIONS_VERSION + 1
        close_revenue(connection, month, {"acme": revenue}, version=version, restated_from=DEFINITIONS_VERSION)

    # By other definitions the latest month crosses both thresholds, which it did not when it was closed.
    restate("2026-03", "70")
    assert _update(connection) == (0, 0, 0)
    # The month that follows is judged by itself, and against the one before as soon as that follows the same version.
    close_revenue(connection, "2026-04", {"acme": "50"}, version=DEFINITIONS_VERSION + 1)
    assert _update(connection) == (2, 0, 2)
    # Late data of that month count, whatever version it was computed by before.
    close_revenue(connection, "2026-04", {"acme": "130"}, version=DEFINITIONS_VERSION + 1)
    assert _update(connection) == (0, 2, 2)


def test_periods_of_different_versions_are_not_compared(connection: Connection) -> None:
    load_rules(connection, [rule(id="falls", change="-20 %"), rule(id="low")])
    close_revenue(connection, "2026-01", {"acme": "200"}, version=DEFINITIONS_VERSION - 1)
    close_revenue(connection, "2026-02", {"acme": "90"})
    assert _update(connection) == (1, 0, 1)
    assert [alert.rule_id for alert in open_alerts(connection)] == ["low"]
    close_revenue(connection, "2026-01", {"acme": "200"}, restated_from=DEFINITIONS_VERSION - 1)
    assert _update(connection) == (1, 0, 1)


def test_what_ended_long_ago_is_recorded_and_notified_once_it_reaches_the_present(connection: Connection) -> None:
    load_rules(connection, [rule(tell_within="45 days")])
    _months(connection, "50")
    assert _update(connection) == (1, 0, 0)
    assert open_alerts(connection)[0].notified_at is None
    # Over before anybody was told: nobody is told that it is.
    _months(connection, "50", "150")
    assert _update(connection) == (0, 1, 0)
    _months(connection, "50", "150", "40")
    assert _update(connection) == (1, 0, 0)
    # The month that has just ended: told, since when.
    _months(connection, "50", "150", "40", "40")
    assert _update(connection, now=start_of("2026-05") + timedelta(days=45)) == (0, 0, 1)
    text = connection.execute("SELECT text_body FROM analytics_outbox").fetchall()[0][0]
    assert "Since:" in text
    assert "2026-03" in text


def test_no_data_is_a_state_of_its_own(connection: Connection) -> None:
    load_rules(connection, [rule(id="loud", no_data="alert"), rule(id="quiet", no_data="ok")])
    _months(connection, "80")
    assert _update(connection) == (2, 0, 2)
    # Missing figures end nothing, because nobody knows.
    close_revenue(connection, "2026-02", {"acme": "80"}, unconverted={"acme": ["totalRevenue"]})
    assert _update(connection) == (1, 0, 1)
    assert _update(connection) == (0, 0, 0)
    assert _states(connection) == [("acme", "firing", None), ("acme", "firing", None), ("acme", "no_data", None)]
    close_revenue(connection, "2026-03", {"acme": "80"})
    assert _update(connection) == (0, 1, 1)
    close_revenue(connection, "2026-04", {"acme": "100"})
    assert _update(connection) == (0, 2, 2)
    subjects = _subjects(connection)
    assert subjects[2] == "[error] loud: acme total_revenue no data (below 100 EUR) 2026-02"
    assert subjects[3] == "[resolved] loud: acme total_revenue 80.00 EUR (no data before) 2026-03"
    assert [s[:15] for s in subjects[4:]] == ["[resolved] loud", "[resolved] quie"]
    (text,) = connection.execute("SELECT text_body FROM analytics_outbox WHERE subject = %s", [subjects[2]]).fetchall()[
        0
    ]
    assert "amounts without a rate of exchange are missing from it" in text


def test_a_company_nobody_has_heard_of_is_no_data_and_a_quiet_one_is_zero(connection: Connection) -> None:
    load_rules(connection, [rule(id="unknown", company="acmee", no_data="alert"), rule(id="known", company="acme")])
    _months(connection, "150")
    close_revenue(connection, "2026-02", {})
    assert _update(connection) == (2, 0, 2)
    assert _subjects(connection) == [
        "[error] known: acme total_revenue 0.00 EUR (below 100 EUR) 2026-02",
        "[error] unknown: acmee total_revenue no data (below 100 EUR) 2026-02",
    ]


def test_each_company_has_its_own_alert_and_all_together_one(connection: Connection) -> None:
    rules = [rule(id="each"), rule(id="one", company="b"), rule(id="all", company=None, value="300 EUR")]
    load_rules(connection, rules)
    close_revenue(connection, "2026-01", {"a": "80", "b": "100", "c": "20"})
    assert _update(connection) == (3, 0, 3)
    assert _subjects(connection) == [
        "[error] all: all companies total_revenue 200.00 EUR (below 300 EUR) 2026-01",
        "[error] each: a total_revenue 80.00 EUR (below 100 EUR) 2026-01",
        "[error] each: c total_revenue 20.00 EUR (below 100 EUR) 2026-01",
    ]
    close_revenue(connection, "2026-02", {"a": "100", "b": "90", "c": "20"})
    assert _update(connection) == (2, 1, 3)
    assert _states(connection) == [
        (None, "firing", None),
        ("a", "resolved", "recovered"),
        ("c", "firing", None),
        ("b", "firing", None),
        ("b", "firing", None),
    ]
    assert {row[0] for row in connection.execute("SELECT company_id FROM analytics_outbox")} == {None, "a", "b", "c"}


def test_days_months_and_tables_are_judged_apart(connection: Connection) -> None:
    load_rules(
        connection,
        [rule(), rule(id="daily", granularity="day"), rule(id="quiet", metric="active_users", value=10)],
    )
    close_revenue(connection, "2026-01-31", {"acme": "1"})
    assert _update(connection) == (0, 0, 0)
    assert _update(connection, granularity=Granularity.DAY) == (1, 0, 1)
    close_users(connection, "2026-01", {"acme": 9})
    assert _update(connection) == (0, 0, 0)
    assert update_alerts(connection, USER_METRICS, Granularity.MONTH, NOW).opened == 1
    assert _subjects(connection) == [
        "[error] daily: acme total_revenue 1.00 EUR (below 100 EUR) 2026-01-31",
        "[error] quiet: acme active_users 9 (below 10) 2026-01",
    ]


def test_every_recipient_and_the_webhook_get_a_message_of_their_own(connection: Connection) -> None:
    load_rules(connection, [rule(recipients=["a@example.com", "b@example.com"], webhook="ops")])
    _months(connection, "80")
    assert _update(connection) == (1, 0, 3)
    rows = connection.execute("SELECT channel, target, html_body IS NULL, company_id, text_body FROM analytics_outbox")
    stated = sorted(row[:4] for row in (*rows,))
    assert stated == [
        ("mail", "a@example.com", False, "acme"),
        ("mail", "b@example.com", False, "acme"),
        ("webhook", "ops", True, "acme"),
    ]
    (body,) = connection.execute("SELECT text_body FROM analytics_outbox WHERE channel = 'webhook'").fetchall()[0]
    payload = json.loads(body)
    assert payload["type"] == "alert.firing"
    assert payload["data"]["alerts"][0]["value"] == "80"


def test_each_of_many_alerts_opens_and_closes_an_incident_where_those_are_kept(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "MAX_MESSAGES", 2)
    load_rules(connection, [rule(recipients=["slack:ops", "pagerduty:ops"])])
    for month, value in (("2026-01", "1"), ("2026-02", "100")):
        close_revenue(connection, month, dict.fromkeys("abc", value))
        assert _update(connection)[2] == 1 + 3
    rows = connection.execute("SELECT text_body FROM analytics_outbox WHERE channel = 'pagerduty' ORDER BY outbox_id")
    events = [json.loads(body) for (body,) in rows]
    assert [event["event_action"] for event in events] == ["trigger"] * 3 + ["resolve"] * 3
    opened, closed = ([event["dedup_key"] for event in half] for half in (events[:3], events[3:]))
    assert opened == closed
    assert [(event["payload"]["source"], event["payload"]["severity"]) for event in events[:3]] == [
        (f"total_revenue of {company}", "error") for company in "abc"
    ]


def test_a_rule_stored_by_an_earlier_release_is_in_force_and_is_the_same_in_todays_spelling(
    connection: Connection,
) -> None:
    load_rules(connection, [rule()])
    connection.execute(
        "UPDATE analytics_alert_rules SET sha256 = repeat('0', 64), "
        """definition = definition || '{"recipients": ["Ops@example.com"], "webhook": "ops"}'"""
    )
    _months(connection, "80")
    assert _update(connection) == (1, 0, 2)
    loaded = load_rules(connection, [rule(recipients=["mail:Ops@example.com", "webhook:ops"])])
    assert (loaded.unchanged, loaded.changed) == (("low-revenue",), ())
    rows = connection.execute("SELECT dedupe_key, target FROM analytics_outbox ORDER BY outbox_id").fetchall()
    assert [(key.partition(":start:")[2], target) for key, target in rows] == [
        ("mail:ops@example.com", "Ops@example.com"),
        ("webhook:ops", "ops"),
    ]


def test_many_alerts_at_once_are_one_message(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "MAX_MESSAGES", 2)
    load_rules(connection, [rule()])
    close_revenue(connection, "2026-01", {"a": "1", "b": "2", "c": "3"})
    assert _update(connection) == (3, 0, 1)
    assert _update(connection) == (0, 0, 0)
    close_revenue(connection, "2026-02", {"a": "100", "b": "100", "c": "100"})
    assert _update(connection) == (0, 3, 1)
    assert _subjects(connection) == [
        "[error] low-revenue: 3 companies total_revenue (below 100 EUR) 2026-01",
        "[resolved] low-revenue: 3 companies total_revenue (below 100 EUR) 2026-02",
    ]
    text = connection.execute("SELECT text_body FROM analytics_outbox ORDER BY outbox_id").fetchall()[0][0]
    assert "b: 2.00 EUR, since 2026-01" in text


def _subscribe(connection: Connection, company: str, month: str, price: str) -> None:
    """Let a customer of the company pay another price, every three months, from the month on."""
    what = "started" if month == "2026-01" else "changed"
    details = {"subscription_id": "s1", "interval": "month", "interval_count": 3, "quantity": 1, "status": "active"}
    at = f"{month}-07T12:00:00Z"
    record_event(
        company,
        "u0",
        f"subscription.{what}",
        "subscription",
        price,
        "EUR",
        details,
        timestamp=at,
        connection=connection,
    )


@pytest.mark.slow
def test_the_figures_are_those_of_the_definitions_of_a_company_and_of_all(connection: Connection) -> None:
    for month, amount, price, users in (("2026-01", "300", "10", 3), ("2026-02", "100", "25", 2)):
        for number, company in enumerate(("sum-a", "sum-b", "sum-c"), start=1):
            for user in range(number * users):
                add_event(connection, f"{month}-05T10:00", company_id=company, user_id=f"u{user}", value=amount)
            _subscribe(connection, company, month, price)
    # Churned without having been active before.
    invoiced = {"company_id": "sum-b", "user_id": "silent", "currency": "EUR"}
    add_event(connection, "2026-01-08T10:00", "invoice.created", category="billing", value="1", **invoiced)
    add_event(connection, "2026-02-08T10:00", "user.deleted", category="user_activity", value=None, **invoiced)
    close(connection, days("2026-01-01", "2026-02-28"))
    february = Window(start_of("2026-02"), start_of("2026-03"))
    for whose in (None, "sum-b"):
        ((moved, rates, *_),) = mrr_figures(connection, [(whose, february)], "EUR")
        movements = asdict(moved)
        wanted = {
            **asdict(revenue_metrics(connection, whose, february, "EUR")),
            **asdict(user_metrics(connection, whose, february)),
            **movements,
            **asdict(rates),
            "start_mrr": movements["start"],
            "end_mrr": movements["end"],
            "previous_revenue": 300 * (18 if whose is None else 6),
        }
        for name, metric in METRICS.items():
            figure = read_figures(connection, metric.table, Granularity.MONTH, february, {whose})
            value = wanted[name]
            assert figure.of(metric, whose, february.start).value == (
                None if value is None else certain(Decimal(value))
            ), name
        assert wanted["churned_users"] > wanted["churn_rate_of_start"] * wanted["active_before"] / 100 > 0
        # The first of the month is another period that starts then.
        day = Window(february.start, start_of("2026-02-02"))
        figure = read_figures(connection, REVENUE_METRICS, Granularity.DAY, day, {whose})
        assert figure.of(METRICS["total_revenue"], whose, day.start).value == 0
        assert wanted["revenue_growth"] < 0
        assert wanted["expansion"] > 0
        assert wanted["net_revenue_retention"] > 100


def test_a_rate_over_all_companies_is_that_of_the_row_without_a_company(connection: Connection) -> None:
    """Never on the companies' own rates."""
    close_users(connection, "2026-02", {"acme": 5, "beta": 5})
    connection.execute("UPDATE analytics_user_metrics SET churn_rate_of_start = 99 WHERE company_id IS NOT NULL")
    february = Window(start_of("2026-02"), start_of("2026-03"))

    def rate() -> Decimal | None:
        figures = read_figures(connection, USER_METRICS, Granularity.MONTH, february, {None})
        return figures.of(METRICS["churn_rate_of_start"], None, february.start).value

    assert rate() is None
    connection.execute("UPDATE analytics_user_metrics SET churn_rate_of_start = 37.5 WHERE company_id IS NULL")
    assert rate() == Decimal("37.5")


def test_what_fired_can_be_asked_for_a_company_and_a_window(connection: Connection) -> None:
    load_rules(connection, [rule(description="Too little"), rule(id="all", company=None, value="500 EUR")])
    close_revenue(connection, "2026-01", {"acme": "80", "beta": "500"})
    _update(connection)
    close_revenue(connection, "2026-02", {"acme": "70", "beta": "500"})
    _update(connection)
    close_revenue(connection, "2026-03", {"acme": "500", "beta": "50"})
    _update(connection)

    def fired(company: str | None, first: str, end: str) -> list[tuple[object, ...]]:
        window = Window(start_of(first), start_of(end))
        found = fired_alerts(connection, company, window)
        return [
            (f.rule, f.company, f"{f.first_period:%m}", f"{f.last_period:%m}", f.value, f.resolution) for f in found
        ]

    acme = ("low-revenue", "acme", "01", "02", "70.00 EUR", "recovered")
    beta = ("low-revenue", "beta", "03", "03", "50.00 EUR", None)
    assert fired("acme", "2026-01", "2026-04") == [acme]
    assert fired("acme", "2026-02", "2026-03") == [acme]
    assert fired("acme", "2026-03", "2026-04") == []
    assert fired("acme", "2025-12", "2026-01") == []
    assert fired("acme", "2026-02-28", "2026-03-01") == [acme]
    assert fired(None, "2026-03", "2026-04") == [beta]
    (found,) = fired_alerts(connection, "acme", Window(start_of("2026-01"), start_of("2026-02")))
    assert (found.description, found.threshold, found.severity) == ("Too little", "below 100 EUR", "error")


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session")
def test_evaluations_at_once_begin_one_alert(connection: Connection, shared_database: Database) -> None:
    load_rules(connection, [rule()])
    _months(connection, "80")
    ready = threading.Barrier(4)

    def run() -> None:
        with shared_database.connect(autocommit=True) as own:
            ready.wait()
            update_alerts(own, REVENUE_METRICS, Granularity.MONTH, NOW)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_states(connection)) == len(_subjects(connection)) == 1


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session")
def test_an_evaluation_that_waited_for_another_sees_what_changed_meanwhile(
    connection: Connection, shared_database: Database
) -> None:
    load_rules(connection, [rule()])
    _months(connection, "80")

    def run() -> None:
        with shared_database.connect(autocommit=True) as own:
            update_alerts(own, REVENUE_METRICS, Granularity.MONTH, NOW)

    thread = threading.Thread(target=run)
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (%s)"
    database = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchall()[0][0]
    with shared_database.connect() as other:
        lock_alerts(other)
        thread.start()
        while thread.is_alive() and connection.execute(waiting, [database]).fetchone() == (0,):
            pass
        _months(connection, "150")
    thread.join()
    assert _states(connection) == []


def test_the_table_holds_one_open_alert_of_a_kind_whoever_writes(connection: Connection) -> None:
    load_rules(connection, [rule(company=None)])
    _months(connection, "80")
    _update(connection)
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(
            "INSERT INTO analytics_alerts (rule_id, revision, company_id, granularity, condition, severity, "
            "first_period, last_period, shown, threshold) "
            "SELECT rule_id, revision, company_id, granularity, condition, severity, first_period, last_period, "
            "shown, threshold FROM analytics_alerts"
        )


def test_a_message_that_cannot_be_put_in_begins_no_alert(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> bool:
        raise psycopg.OperationalError("gone")

    load_rules(connection, [rule()])
    _months(connection, "80")
    with monkeypatch.context() as broken:
        broken.setattr(lifecycle, "enqueue_incidents", fail)
        with pytest.raises(psycopg.OperationalError):
            _update(connection)
    assert _states(connection) == []
    assert _update(connection) == (1, 0, 1)


def _changed(connection: Connection, *rules: Rule) -> tuple[int, int]:
    loaded = load_rules(connection, list(rules))
    return loaded.alerts.resolved, loaded.alerts.messages


def test_loading_the_same_rules_again_changes_nothing(connection: Connection) -> None:
    first = load_rules(connection, [rule(), rule(id="other")])
    assert (first.added, first.changed, first.removed, first.unchanged) == (("low-revenue", "other"), (), (), ())
    assert load_rules(connection, [rule(), rule(id="other")]).unchanged == ("low-revenue", "other")
    second = load_rules(connection, [rule(value="90 EUR")])
    assert (second.added, second.changed, second.removed) == ((), ("low-revenue",), ("other",))
    rows = connection.execute(
        "SELECT rule_id, revision, active, definition ->> 'value' FROM analytics_alert_rules ORDER BY 1, 2"
    ).fetchall()
    assert rows == [
        ("low-revenue", 1, False, "100 EUR"),
        ("low-revenue", 2, True, "90 EUR"),
        ("other", 1, False, "100 EUR"),
    ]
    # One that comes back is a version of its own.
    load_rules(connection, [rule(value="90 EUR"), rule(id="other")])
    count = connection.execute("SELECT max(revision) FROM analytics_alert_rules WHERE rule_id = 'other'").fetchone()
    assert count == (2,)


def test_the_alerts_of_a_removed_rule_are_closed_with_a_message(connection: Connection) -> None:
    load_rules(connection, [rule()])
    _months(connection, "80")
    _update(connection)
    assert _changed(connection) == (1, 1)
    assert _update(connection) == (0, 0, 0)
    assert _states(connection) == [("acme", "resolved", "rule removed")]
    subject, text = connection.execute("SELECT subject, text_body FROM analytics_outbox ORDER BY outbox_id").fetchall()[
        1
    ]
    assert subject == "[closed] low-revenue: acme total_revenue 80.00 EUR (below 100 EUR) 2026-01"
    assert "the rule was removed or no longer covers this" in text


def test_a_changed_rule_keeps_its_alerts_as_far_as_it_covers_them(connection: Connection) -> None:
    load_rules(connection, [rule()])
    close_revenue(connection, "2026-01", {"a": "80", "b": "70"})
    _update(connection)
    # It still fires: nothing to tell.
    assert _changed(connection, rule(value="90 EUR", severity="warning")) == (0, 0)
    assert _update(connection) == (0, 0, 0)
    assert [(a.revision, a.threshold, a.severity) for a in open_alerts(connection)] == [
        (2, "below 90 EUR", "warning")
    ] * 2
    # It doesn't for one of them.
    assert _changed(connection, rule(value="75 EUR")) == (0, 0)
    assert _update(connection) == (0, 1, 1)
    # It covers the other no more.
    assert _changed(connection, rule(value="75 EUR", company="a")) == (1, 1)
    assert _states(connection) == [("a", "resolved", "rule changed"), ("b", "resolved", "rule removed")]
    # Another figure is another matter.
    close_revenue(connection, "2026-01", {"a": "60"})
    _update(connection)
    assert _changed(connection, rule(metric="mrr", company="a")) == (1, 1)


def test_the_alert_of_a_company_that_has_no_figures_any_more_is_closed(connection: Connection) -> None:
    load_rules(connection, [rule()])
    close_revenue(connection, "2026-01", {"acme": "80", "tpyo": "5"})
    assert _update(connection) == (2, 0, 2)
    close_revenue(connection, "2026-01", {"acme": "80"})
    assert _update(connection) == (0, 1, 1)
    assert _update(connection) == (0, 0, 0)
    assert _states(connection) == [("acme", "firing", None), ("tpyo", "resolved", "rule removed")]


def test_whoever_was_notified_of_an_alert_is_notified_when_the_rule_notifies_others(connection: Connection) -> None:
    load_rules(connection, [rule(recipients=["old@example.com"])])
    _months(connection, "80")
    _update(connection)
    # One more is nothing to tell.
    assert _changed(connection, rule(recipients=["old@example.com", "more@example.com"])) == (0, 0)
    assert _changed(connection, rule(recipients=["new@example.com"])) == (1, 2)
    assert _update(connection) == (1, 0, 1)
    stated = connection.execute("SELECT target, left(subject, 8) FROM analytics_outbox ORDER BY outbox_id").fetchall()
    assert stated == [
        ("old@example.com", "[error] "),
        ("old@example.com", "[closed]"),
        ("more@example.com", "[closed]"),
        ("new@example.com", "[error] "),
    ]


def test_a_rule_that_no_longer_notifies_of_missing_figures_says_so_and_keeps_what_it_found(
    connection: Connection,
) -> None:
    load_rules(connection, [rule(no_data="alert")])
    _months(connection, "80")
    _update(connection)
    for month in ("2026-02", "2026-03"):
        close_revenue(connection, month, {"acme": "0"}, unconverted={"acme": ["totalRevenue"]})
        _update(connection)
        load_rules(connection, [rule(no_data="ok")])
    assert _states(connection) == [("acme", "firing", None), ("acme", "resolved", "rule changed")]
    assert [alert.shown for alert in open_alerts(connection)] == ["80.00 EUR"]
    (*_, (text,)) = connection.execute("SELECT text_body FROM analytics_outbox ORDER BY outbox_id").fetchall()
    assert "no longer notifies of missing figures" in text


def test_a_reader_of_the_figures_reads_no_alerts(connection: Connection) -> None:
    for table in ("analytics_alerts", "analytics_alert_rules"):
        granted = "SELECT has_table_privilege('public', %s, 'SELECT')"
        assert connection.execute(granted, [table]).fetchone() == (False,)
