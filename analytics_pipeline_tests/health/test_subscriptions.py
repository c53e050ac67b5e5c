"""Changes of subscriptions that are in no figure, or that only an id orders, are named, with what they lack."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from analytics_pipeline.health.check_result import State
from analytics_pipeline.health.subscriptions import subscription_events, subscription_order
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window

GOOD = {"subscription_id": "s1", "interval": "month", "interval_count": 1, "quantity": 1, "status": "active"}


def _add(
    connection: Connection,
    metadata: object,
    event_type: str = "subscription.changed",
    value: str | None = "10",
    days: int = 1,
) -> uuid.UUID:
    event_id = uuid.uuid4()
    connection.execute(
        'INSERT INTO analytics_events (event_id, "timestamp", company_id, event_type, category, value, currency, '
        "metadata) VALUES (%s, %s, 'acme', %s, 'subscription', %s, 'EUR', %s)",
        [event_id, datetime.now(UTC) - timedelta(days=days), event_type, value, json.dumps(metadata)],
    )
    return event_id


def test_what_says_all_it_has_to_say_passes(connection: Connection) -> None:
    assert subscription_events(connection, get_settings()).passed
    _add(connection, GOOD)
    _add(connection, {**GOOD, "status": "ended"}, "subscription.ended", value=None)
    _add(connection, {}, "subscription.reminder_sent", value=None)
    _add(connection, {}, days=40)
    finding = subscription_events(connection, get_settings())
    assert finding.passed, finding.text
    assert finding.subject == "subscriptions"


def test_what_is_in_no_figure_is_a_warning_with_what_it_lacks(connection: Connection) -> None:
    bad = [
        _add(connection, {}, days=5),
        _add(connection, [], days=4),
        _add(connection, {**GOOD, "interval": "fortnight"}, days=3),
        _add(connection, {**GOOD, "interval_count": 1.5}, days=2),
        _add(connection, GOOD, value=None, days=1),
    ]
    finding = subscription_events(connection, get_settings())
    assert finding.state is State.WARNING
    assert finding.metadata["changes in no figure"] == 5
    assert "value is missing: a subscription that is active has a price per interval" in finding.summary
    assert "metadata.interval_count 1.5 is not a whole number" in finding.summary
    assert "metadata.interval 'fortnight' is unknown" in finding.summary
    assert "and 2 more" in finding.summary
    assert "metadata [] is not an object" in finding.metadata["the newest of them"][3]
    (remedy,) = finding.remedies
    assert str(bad[-1]) in remedy
    assert connection.execute(remedy.replace("<key>", "note").replace("<value>", "1")).rowcount == 1


def _at_one_instant(connection: Connection, *changes: tuple[str, dict[str, object], int]) -> datetime:
    """Add changes of s1 at one instant: price, metadata beyond the usual, minutes at which it arrived."""
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=400)
    for price, more, minutes in changes:
        connection.execute(
            'INSERT INTO analytics_events (event_id, "timestamp", ingested_at, company_id, user_id, event_type, '
            "category, value, currency, metadata) VALUES (%s, %s, %s, 'acme', 'u1', 'subscription.changed', "
            "'subscription', %s, 'EUR', %s)",
            [uuid.uuid4(), at, at + timedelta(minutes=minutes), price, json.dumps({**GOOD, **more})],
        )
    return at


ENDED = {"status": "ended"}


@pytest.mark.parametrize("closed", [False, True])
def test_changes_of_one_instant_that_only_an_id_orders_fail_with_their_subscription(
    connection: Connection,
    closed: bool,  # noqa: FBT001
) -> None:
    """However long ago: a balance of today stands on it."""
    at = _at_one_instant(connection, ("50", {}, 0), ("80", {}, 0))
    if closed:
        update_subscriptions(connection, Window.of_dates(at.date(), at.date()))
    finding = subscription_order(connection, get_settings())
    assert finding.state is State.ERROR
    assert f"s1 of acme at {at:%Y-%m-%dT%H:%M:%S}" in finding.summary
    assert finding.metadata["instants at which an id decides"] == 1
    remedy, command = finding.remedies
    statement, _, _ = remedy.partition("; -- ")
    assert command == f"analytics-pipeline close --start {at:%Y-%m-%d} --end {at + timedelta(days=1):%Y-%m-%d}"
    ids = connection.execute("SELECT event_id FROM analytics_events ORDER BY value").fetchall()
    for number, (event_id,) in enumerate(ids, start=1):
        update = statement.replace("<id>", str(event_id)).replace("<1, 2, ...>", str(number))
        assert connection.execute(update).rowcount == 1
    update_subscriptions(connection, Window.of_dates(at.date(), at.date()))
    assert subscription_order(connection, get_settings()).passed
    assert connection.execute("SELECT price FROM analytics_subscriptions").fetchall() == [(80,)]


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [("50", {}, 0)],
        [("50", {"sequence": 1}, 0), ("80", {"sequence": 2}, 0)],
        [("50", {}, 0), ("80", {}, 1)],
        [("50", {}, 0), ("50", ENDED, 0)],
        # It doesn't matter which of two that say the same counts.
        [("50", {}, 0), ("50.0", {"note": "again"}, 0)],
    ],
)
def test_an_order_that_no_id_decides_passes(
    connection: Connection, changes: list[tuple[str, dict[str, object], int]]
) -> None:
    _at_one_instant(connection, *changes)
    finding = subscription_order(connection, get_settings())
    assert finding.passed, finding.text


def test_what_an_id_decided_before_the_events_expired_is_no_failure(connection: Connection) -> None:
    at = _at_one_instant(connection, ("50", {}, 0), ("80", {}, 0))
    update_subscriptions(connection, Window.of_dates(at.date(), at.date()))
    connection.execute("SELECT drop_chunks('analytics_events', %s::timestamptz)", [at + timedelta(days=60)])
    _add(connection, {**GOOD, "subscription_id": "s2"})
    assert connection.execute("SELECT decided_by_id FROM analytics_subscriptions").fetchall() == [(True,)]
    connection.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES (%s)", [at + timedelta(days=60)])
    assert subscription_order(connection, get_settings()).passed
