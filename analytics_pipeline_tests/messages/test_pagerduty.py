"""PagerDuty gets events of its form, opens and closes one incident by one key, and its keys are shown nowhere."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.languages.catalogues import language_of
from analytics_pipeline.messages.channel import NotDelivered, Refused
from analytics_pipeline.messages.channels.pagerduty import PagerDutyChannel
from analytics_pipeline.messages.message import Content, Event
from analytics_pipeline.messages.recipients import add_recipient
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.events_factory import at
from analytics_pipeline_tests.messages.sample_messages import claimed, no_mark
from analytics_pipeline_tests.messages.webhook_catcher import Receiver, webhook_receiver

KEY = "R0UT1NGKEY" * 3 + "ab"
EVENT = Event(key="run:daily:1", source="daily_aggregates", severity="error", at=at("2025-03-05T12:00"))
CONTENT = Content(
    subject="failed: daily_aggregates", text="all of it", summary="Failed.", facts=[("Why", "boom")], event=EVENT
)


def checked(body: Any) -> tuple[int, str]:
    """Answer as the events API does."""
    payload = body.get("payload", {})
    if body.get("routing_key") != KEY or body.get("event_action") not in {"trigger", "resolve"}:
        return 400, '{"status": "invalid event", "errors": ["routing_key"]}'
    if not 0 < len(body.get("dedup_key", "")) <= 255:
        return 400, '{"status": "invalid event"}'
    is_complete = (
        0 < len(payload.get("summary", "")) <= 1024
        and payload.get("source")
        and payload.get("severity") in {"critical", "error", "warning", "info"}
    )
    if body["event_action"] == "trigger" and not is_complete:
        return 400, '{"status": "invalid event"}'
    return 202, '{"status": "success"}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as receiver:
        receiver.check = checked
        yield receiver


def _send(receiver: Receiver, content: Content = CONTENT, key: str = KEY) -> None:
    PagerDutyChannel({"ops": key}, receiver.url).send(claimed(content, "pagerduty:ops"), no_mark)


def test_an_incident_is_triggered_and_resolved_by_the_same_key(receiver: Receiver) -> None:
    _send(receiver)
    _send(receiver, replace(CONTENT, event=replace(EVENT, is_over=True)))
    trigger, resolve = receiver.posted
    assert trigger == {
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": "run:daily:1",
        "payload": {
            "summary": "failed: daily_aggregates",
            "source": "daily_aggregates",
            "severity": "error",
            "timestamp": "2025-03-05T12:00:00+00:00",
            "custom_details": {"summary": "Failed.", "Why": "boom"},
        },
    }
    assert resolve == {"routing_key": KEY, "event_action": "resolve", "dedup_key": "run:daily:1"}


def test_details_are_in_the_language_and_what_pagerduty_groups_by_is_not(receiver: Receiver) -> None:
    _send(receiver, replace(CONTENT, facts=[("Warum", "boom")], language=language_of("de")))
    (trigger,) = receiver.posted
    assert trigger["payload"]["custom_details"] == {"Zusammenfassung": "Failed.", "Warum": "boom"}
    assert (trigger["payload"]["source"], trigger["payload"]["severity"]) == ("daily_aggregates", "error")


def test_the_key_is_in_no_row_and_no_message(receiver: Receiver) -> None:
    assert KEY not in repr(claimed(CONTENT, "pagerduty:ops"))
    with pytest.raises(Refused, match="PagerDuty's service ops refused the message: 400") as refusal:
        _send(receiver, key="SECRET")
    assert "SECRET" not in str(refusal.value)


def test_what_is_no_event_is_not_posted(receiver: Receiver) -> None:
    message = claimed(CONTENT, "pagerduty:ops")
    for text in ("text", "[]", '{"event_action": "trigger", "dedup_key": "a"}', message.text.replace("trigger", "ack")):
        with pytest.raises(Refused, match="no event for PagerDuty"):
            PagerDutyChannel({"ops": KEY}, receiver.url).send(replace(message, text=text), no_mark)
    assert receiver.requests == []


def test_an_event_that_may_have_arrived_is_sent_again_because_pagerduty_can_tell(receiver: Receiver) -> None:
    for answer in (0, 429, 500):
        receiver.answers = [answer]
        with pytest.raises(NotDelivered) as failure:
            _send(receiver)
        assert not isinstance(failure.value, Refused)


def test_a_long_key_of_two_incidents_is_never_the_same(receiver: Receiver) -> None:
    long = "x" * 400
    for end in ("1", "2"):
        _send(receiver, replace(CONTENT, event=replace(EVENT, key=f"{long}{end}")))
        _send(receiver, replace(CONTENT, event=replace(EVENT, key=f"{end}{long}")))
    assert len({posted["dedup_key"] for posted in receiver.posted}) == 4


def test_reports_do_not_go_there(connection: Connection) -> None:
    with pytest.raises(AnalyticsError, match="No report can go to pagerduty:ops"):
        add_recipient(connection, None, "monthly_report", "pagerduty:ops")


def test_keys_have_names_and_are_shown_by_no_refusal() -> None:
    assert PagerDutyChannel.from_settings(Settings()) is None
    with pytest.raises(AnalyticsError, match="ANALYTICS_PAGERDUTY can't be used") as refusal:
        PagerDutyChannel.from_settings(Settings(pagerduty="SECRET"))  # type: ignore[arg-type]
    assert "SECRET" not in str(refusal.value)
    with pytest.raises(AnalyticsError, match="ANALYTICS_PAGERDUTY_URL has to be https"):
        PagerDutyChannel.from_settings(Settings(pagerduty=f"ops={KEY}", pagerduty_url="http://example.com"))  # type: ignore[arg-type]
