"""Microsoft Teams as a channel: the webhook of a Workflow, which posts an adaptive card to a channel or a chat.

A Workflow answers 202 whatever it is sent, and what is no card is lost: the form is checked before a message leaves.

Ids of companies come from data: every piece of text is a ``TextRun``, of which Teams reads no markup.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from analytics_pipeline.languages.wording import message
from analytics_pipeline.messages.channel import Refused
from analytics_pipeline.messages.http import NamedSecrets
from analytics_pipeline.messages.message import Body, ClaimedMessage, Content, shortened, storable
from analytics_pipeline.messages.named_webhooks import NamedWebhooks
from analytics_pipeline.settings import Settings

_WEBHOOKS = NamedSecrets(
    "ANALYTICS_TEAMS", "'ops=https://...logic.azure.com/workflows/...', several separated by blanks"
)
_CARD_TYPE: Final = "application/vnd.microsoft.card.adaptive"
# Teams takes 28 KB; what is cut below stays within them, at four bytes a character.
_MAX_BYTES = 28_000
_TEXT_CHARACTERS = 1500
_VALUE_CHARACTERS = 200
_MAX_FACTS = 20


class TeamsChannel(NamedWebhooks):
    """Posts messages to Workflows of Microsoft Teams by their names: ``teams:ops``."""

    name = "teams"
    setting = _WEBHOOKS.setting
    receiver = "the Workflow of Teams"

    @classmethod
    def names(cls, settings: Settings) -> dict[str, str]:
        """Return the Workflows of ANALYTICS_TEAMS by name; see ``Channel``."""
        return _WEBHOOKS.parse_urls(settings.teams)

    @staticmethod
    def render(content: Content) -> Body:
        """Return one adaptive card: a heading, what there is to say, a button for the link; see ``Channel``."""
        said = content.summary if content.facts else content.text
        body = [_run(content.subject, size="Medium", weight="Bolder"), _run(shortened(said, _TEXT_CHARACTERS))]
        body += [_run(f"{name}: {shortened(value, _VALUE_CHARACTERS)}") for name, value in content.facts[:_MAX_FACTS]]
        if len(content.facts) > _MAX_FACTS:
            more = message("and {number} more", number=len(content.facts) - _MAX_FACTS)
            body.append(_run(content.language.say(more)))
        card: dict[str, object] = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "msteams": {"width": "Full"},
            "body": body,
        }
        if content.web_link:
            card["actions"] = [{"type": "Action.OpenUrl", "title": content.opens, "url": content.link}]
        posted = {"type": "message", "attachments": [{"contentType": _CARD_TYPE, "content": card}]}
        return Body(storable(json.dumps(posted, ensure_ascii=False)))

    def send(self, message: ClaimedMessage, before_last: Callable[[], None]) -> None:
        """Post one message, if it is a card; see ``Channel``."""
        _require_card(message.text)
        self.post(message, before_last)


def _run(text: str, **style: str) -> dict[str, object]:
    return {
        "type": "RichTextBlock",
        "inlines": [{"type": "TextRun", "text": text.strip() or "-", **style}],
    }


def _require_card(text: str) -> None:
    """Raise ``Refused`` for what a Workflow would take and lose."""
    try:
        message: Any = json.loads(text)
        (attachment,) = message["attachments"]
        card = attachment["content"]
        is_card = (
            message["type"] == "message"
            and attachment["contentType"] == _CARD_TYPE
            and card["type"] == "AdaptiveCard"
            and bool(card["version"] and card["body"])
        )
    except (ValueError, KeyError, TypeError):
        is_card = False
    if not is_card or len(text.encode()) > _MAX_BYTES:
        raise Refused(f"it is no message for Teams: JSON with one adaptive card, of at most {_MAX_BYTES} bytes")
