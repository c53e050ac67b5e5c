"""Changes of subscriptions that are in no figure are named, with what they lack."""

import json
import uuid
from datetime import UTC, datetime, timedelta

from analytics_pipeline.health.finding import State
from analytics_pipeline.health.subscriptions import subscription_events
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection

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
