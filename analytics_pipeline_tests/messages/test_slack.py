"""Slack gets JSON with text and blocks of its form, and anything but its ``ok`` is not taken for delivered."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.channel import DeliveryUnknown, NotDelivered, Refused
from analytics_pipeline.messages.channels.slack import SlackChannel
from analytics_pipeline.messages.message import Content
from analytics_pipeline.messages.timeouts import Timeouts
from analytics_pipeline.settings import Settings
from analytics_pipeline_tests.messages.sample_messages import claimed, no_mark
from analytics_pipeline_tests.messages.webhook_catcher import Receiver, webhook_receiver

CONTENT = Content(
    subject="[error] low-revenue: <!channel> & Co fell",
    text="all of it",
    summary="Firing: *the* figure has crossed the threshold.",
    facts=[("Company", "<https://evil.example|click>"), ("Value", "75.00 EUR")],
    link="https://dagster.example.com/runs/1",
)


def checked(body: Any) -> tuple[int, str]:
    """Answer as an incoming webhook of Slack does."""
    blocks = body.get("blocks")
    if not isinstance(body.get("text"), str) or not isinstance(blocks, list) or not 0 < len(blocks) <= 50:
        return 400, "invalid_payload"
    for block in blocks:
        texts = [block["text"]] if "text" in block else []
        texts += block.get("fields", [])
        limits = {"header": 150, "section": 3000}
        if block["type"] not in {*limits, "actions"} or len(block.get("fields", [])) > 10:
            return 400, "invalid_blocks"
        if any(text["type"] != "plain_text" or not 0 < len(text["text"]) <= limits[block["type"]] for text in texts):
            return 400, "invalid_blocks"
    return 200, "ok"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as receiver:
        receiver.check = checked
        yield receiver


def _send(receiver: Receiver, content: Content = CONTENT, answer: float = 5) -> None:
    SlackChannel({"ops": receiver.url}, timeouts=Timeouts(5, answer)).send(claimed(content, "slack:ops"), no_mark)


def test_a_message_has_a_heading_its_facts_and_a_button_and_nothing_in_it_is_markup(receiver: Receiver) -> None:
    _send(receiver)
    (posted,) = receiver.posted
    assert posted["text"] == "[error] low-revenue: &lt;!channel&gt; &amp; Co fell"
    header, summary, facts, actions = posted["blocks"]
    assert header["text"]["text"] == CONTENT.subject
    assert summary["text"]["text"] == CONTENT.summary
    assert [field["text"] for field in facts["fields"]] == ["Company: <https://evil.example|click>", "Value: 75.00 EUR"]
    assert actions["elements"][0]["url"] == CONTENT.link


def test_a_message_of_any_size_keeps_slacks_limits(receiver: Receiver) -> None:
    _send(receiver, Content(subject="W" * 180, text="x" * 10_000, facts=[("Name", "v" * 5000)] * 800))
    _send(receiver, Content(subject="W" * 180, text="x" * 10_000))
    assert len(receiver.posted[0]["blocks"]) == 48
    assert len(receiver.posted[1]["blocks"][1]["text"]["text"]) == 3000


def test_what_is_no_message_for_slack_is_not_posted(receiver: Receiver) -> None:
    for text in ("plain", "[]", '{"text": "a"}', '{"text": "a", "blocks": []}', '{"blocks": [{}]}'):
        with pytest.raises(Refused, match="no message for Slack"):
            SlackChannel({"ops": receiver.url}).send(replace(claimed(CONTENT, "slack:ops"), text=text), no_mark)
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [(400, Refused), (404, Refused), (410, Refused), (429, NotDelivered), (503, NotDelivered), (500, DeliveryUnknown)],
)
def test_an_answer_says_whether_it_was_taken(receiver: Receiver, answer: int, error: type[AnalyticsError]) -> None:
    receiver.answers = [answer]
    with pytest.raises(error) as failure:
        _send(receiver)
    assert type(failure.value) is error
    assert "key=1" not in str(failure.value)


def test_whatever_is_not_ok_and_silence_leave_open_what_became_of_it(receiver: Receiver) -> None:
    receiver.check = lambda _: (200, "<html>Sign in</html>")
    with pytest.raises(DeliveryUnknown, match="not 'ok'"):
        _send(receiver)
    receiver.answers = [0]
    with pytest.raises(DeliveryUnknown, match="fell silent after the whole message"):
        _send(receiver)
    receiver.is_silent = True
    with pytest.raises(DeliveryUnknown, match="fell silent after the whole message"):
        _send(receiver, answer=0.2)


def test_nothing_complete_is_posted_to_slack_before_the_message_is_marked(receiver: Receiver) -> None:
    def lost() -> None:
        raise NotDelivered("another sender has it")

    with pytest.raises(NotDelivered, match="another sender has it"):
        SlackChannel({"ops": receiver.url}).send(claimed(CONTENT, "slack:ops"), lost)
    assert receiver.requests == [] or receiver.requests[0].body != claimed(CONTENT, "slack:ops").text.encode()


def test_webhooks_have_names_and_an_unsafe_one_is_refused_without_showing_it() -> None:
    assert SlackChannel.from_settings(Settings()) is None
    settings = Settings(slack="ops=https://hooks.slack.com/services/T/B/X")  # type: ignore[arg-type]
    assert SlackChannel.names(settings) == {"ops": "https://hooks.slack.com/services/T/B/X"}
    for text in ("https://hooks.slack.com/SECRET", "ops=http://hooks.slack.com/SECRET"):
        with pytest.raises(AnalyticsError, match=r"ANALYTICS_SLACK can't be used: .*Write it like") as refusal:
            SlackChannel.from_settings(Settings(slack=text))  # type: ignore[arg-type]
        assert "SECRET" not in str(refusal.value)
