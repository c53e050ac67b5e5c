"""Teams gets one adaptive card; what it would take and lose does not leave."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from analytics_pipeline.messages.channel import DeliveryUnknown, Refused
from analytics_pipeline.messages.channels.teams import TeamsChannel
from analytics_pipeline.messages.message import Content
from analytics_pipeline_tests.messages.sample_messages import claimed, no_mark
from analytics_pipeline_tests.messages.webhook_catcher import Receiver, webhook_receiver

CONTENT = Content(
    subject="[error] low-revenue: [click](https://evil.example) fell",
    text="all of it",
    summary="Firing: **the** figure has crossed the threshold.",
    facts=[("Company", "acme"), ("Value", "75.00 EUR")],
    link="https://dagster.example.com/runs/1",
)
LOST: list[Any] = []


def checked(body: Any) -> tuple[int, str]:
    """Answer as a Workflow does: 202 to everything, and what is no card appears nowhere."""
    cards = [one["content"] for one in body.get("attachments", []) if one.get("contentType", "").endswith(".adaptive")]
    if body.get("type") != "message" or len(cards) != 1 or cards[0].get("type") != "AdaptiveCard":
        LOST.append(body)
    return 202, ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    LOST.clear()
    with webhook_receiver() as receiver:
        receiver.check = checked
        yield receiver
    assert LOST == []


def _send(receiver: Receiver, content: Content = CONTENT) -> None:
    TeamsChannel({"ops": receiver.url}).send(claimed(content, "teams:ops"), no_mark)


def _texts(card: dict[str, Any]) -> list[str]:
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}, "nothing that reads markup"
    return [block["inlines"][0]["text"] for block in card["body"]]


def test_a_message_is_one_card_in_which_nothing_is_markup(receiver: Receiver) -> None:
    _send(receiver)
    (posted,) = receiver.posted
    assert (posted["type"], len(posted["attachments"])) == ("message", 1)
    attachment = posted["attachments"][0]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert _texts(card) == [CONTENT.subject, CONTENT.summary, "Company: acme", "Value: 75.00 EUR"]
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open", "url": CONTENT.link}]


def test_a_message_of_any_size_stays_below_what_teams_takes(receiver: Receiver) -> None:
    wide = "\U0001f4b6"
    _send(receiver, Content(subject=wide * 180, text="", summary=wide * 9000, facts=[("Name", wide * 9000)] * 800))
    assert len(receiver.requests[0].body) <= 28_000
    assert _texts(receiver.posted[0]["attachments"][0]["content"])[-1].endswith(" more")


def test_what_a_workflow_would_take_and_lose_is_not_posted(receiver: Receiver) -> None:
    message = claimed(CONTENT, "teams:ops")
    good = json.loads(message.text)
    card = good["attachments"][0]["content"]
    wrong: Any
    for wrong in (
        {"text": "hello"},
        [],
        {**good, "type": "card"},
        {**good, "attachments": []},
        {**good, "attachments": [{"contentType": "application/json", "content": card}]},
        {**good, "attachments": [{**good["attachments"][0], "content": {**card, "body": []}}]},
        {**good, "attachments": good["attachments"] * 2},
        {**good, "more": "x" * 28_000},
    ):
        with pytest.raises(Refused, match="no message for Teams"):
            TeamsChannel({"ops": receiver.url}).send(replace(message, text=json.dumps(wrong)), no_mark)
    assert receiver.requests == []


def test_silence_after_the_card_leaves_open_whether_it_arrived(receiver: Receiver) -> None:
    receiver.answers = [0]
    with pytest.raises(DeliveryUnknown, match="the Workflow of Teams ops fell silent"):
        _send(receiver)
