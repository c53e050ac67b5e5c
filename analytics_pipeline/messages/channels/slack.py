"""Slack as a channel: incoming webhooks, which take JSON with ``text`` and ``blocks`` and answer ``ok``.

Ids of companies come from data: every piece of text is plain text to Slack, or escaped, so that none of it is a link, a
mention or markup.
"""

import json
from collections.abc import Callable
from html import escape

from analytics_pipeline.messages.channel import DeliveryUnknown, Refused
from analytics_pipeline.messages.http import NamedSecrets
from analytics_pipeline.messages.message import Body, ClaimedMessage, Content, shortened, storable
from analytics_pipeline.messages.named_webhooks import NamedWebhooks
from analytics_pipeline.settings import Settings

_WEBHOOKS = NamedSecrets(
    "ANALYTICS_SLACK", "'ops=https://hooks.slack.com/services/T.../B.../...', several separated by blanks"
)
# What Slack takes at most.
_HEADER_CHARACTERS = 150
_SECTION_CHARACTERS = 3000
_FIELD_CHARACTERS = 2000
_MAX_FIELDS = 10
_MAX_BLOCKS = 50


class SlackChannel(NamedWebhooks):
    """Posts messages to incoming webhooks of Slack by their names: ``slack:ops``."""

    name = "slack"
    setting = _WEBHOOKS.setting
    receiver = "Slack's webhook"

    @classmethod
    def names(cls, settings: Settings) -> dict[str, str]:
        """Return the webhooks of ANALYTICS_SLACK by name; see ``Channel``."""
        return _WEBHOOKS.parse_urls(settings.slack)

    @staticmethod
    def render(content: Content) -> Body:
        """Return a heading, what there is to say, and a button for the link; see ``Channel``."""
        said = content.summary if content.facts else content.text
        blocks: list[dict[str, object]] = [{"type": "header", "text": _plain(content.subject, _HEADER_CHARACTERS)}]
        if said.strip():
            blocks.append({"type": "section", "text": _plain(said, _SECTION_CHARACTERS)})
        fields = [_plain(f"{name}: {value}", _FIELD_CHARACTERS) for name, value in content.facts]
        blocks.extend(
            {"type": "section", "fields": fields[first : first + _MAX_FIELDS]}
            for first in range(0, min(len(fields), _MAX_FIELDS * (_MAX_BLOCKS - 3)), _MAX_FIELDS)
        )
        if content.web_link:
            button = {"type": "button", "text": _plain(content.opens, _HEADER_CHARACTERS), "url": content.link}
            blocks.append({"type": "actions", "elements": [button]})
        # Shown by notifications, and read with Slack's markup.
        return Body(storable(json.dumps({"text": escape(content.subject, quote=False), "blocks": blocks})))

    def send(self, message: ClaimedMessage, before_last: Callable[[], None]) -> None:
        """Post one message; whatever Slack answers but ``ok`` leaves open what became of it; see ``Channel``."""
        _require_form(message.text)
        answer = self.post(message, before_last)
        if answer.text != "ok":
            raise DeliveryUnknown(
                f"{self.receiver} {message.target} answered {answer.status} {answer.text!r}, not 'ok'"
            )


def _plain(text: str, limit: int) -> dict[str, object]:
    return {"type": "plain_text", "text": shortened(text.strip() or "-", limit), "emoji": False}


def _require_form(text: str) -> None:
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    blocks = body.get("blocks") if isinstance(body, dict) else None
    if not isinstance(blocks, list) or not 0 < len(blocks) <= _MAX_BLOCKS or not body.get("text"):
        raise Refused("it is no message for Slack: JSON with a text and 1 to 50 blocks")
