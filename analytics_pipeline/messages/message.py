"""What a message holds: its content in words, its form in the outbox, and the document that goes with it."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from analytics_pipeline.languages.catalogues import ENGLISH, Language

SUBJECT_CHARACTERS = 180
_ELLIPSIS = "\u2026"

Kind = Literal["report", "alert", "failure"]
Severity = Literal["critical", "error", "warning", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The beginning or the end of something that lasts, for channels that open and close an entry of their own.

    ``key`` is the same at its beginning and its end; ``source`` is what it happened to; ``at`` is when (aware).
    """

    key: str
    source: str
    severity: Severity
    at: datetime
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a message has to say, whatever carries it.

    ``subject`` is one line, ``text`` and ``html`` all of it. Channels without room for all of it show ``summary``, a
    sentence, ``facts``, names and values, and ``link``, whose button says ``opens``. ``language`` is that of all of it,
    for what a channel adds. ``event`` is what began or ended, None: nothing did. ``payload`` is the JSON for programs,
    empty: one that holds subject and text.
    """

    subject: str
    text: str
    html: str = ""
    summary: str = ""
    facts: Sequence[tuple[str, str]] = ()
    link: str = ""
    opens: str = "Open"
    language: Language = ENGLISH
    event: Event | None = None
    payload: str = ""

    @property
    def web_link(self) -> str:
        """The link, if a browser opens it; empty: it does not, or there is none."""
        return self.link if self.link.startswith(("https://", "http://")) else ""


@dataclass(frozen=True, slots=True)
class Body:
    """A content in the form of one channel: text or JSON, and the HTML of mails."""

    text: str
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document of the store (``store``).

    ``name`` is its name there, ``uri`` where people find it, ``file`` its name in a mail; ``size`` in bytes.
    ``sha256`` names the revision: other bytes are never sent in its place.
    """

    name: str
    uri: str
    file: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ClaimedMessage:
    """A row that one sender holds: nobody else sends it meanwhile. ``target`` is the recipient.

    ``text`` is in the form of the channel: for most of them JSON. ``message_id`` is the same on every attempt.
    ``unsubscribe_key`` is that of the recipient of a report.
    """

    outbox_id: int
    kind: Kind
    channel: str
    target: str
    subject: str
    text: str
    html: str | None
    attachment: Attachment | None
    message_id: str
    unsubscribe_key: str | None = None


def one_line(text: str, limit: int = SUBJECT_CHARACTERS) -> str:
    """Return the text as one line of at most ``limit`` characters, without control and invisible characters.

    Among the invisible ones are the marks that turn the direction of writing.
    """
    visible = (character for character in text if unicodedata.category(character) != "Cf")
    line = " ".join("".join(character if character.isprintable() else " " for character in visible).split())
    return shortened(line, limit)


def shortened(text: str, limit: int) -> str:
    """Return the text, with an ellipsis in place of what exceeds ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + _ELLIPSIS


def storable(text: str) -> str:
    """Return the text with what PostgreSQL can't store escaped."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
