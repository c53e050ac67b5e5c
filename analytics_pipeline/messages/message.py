"""What the outbox holds: a message for one recipient, and the document that goes with it."""

import unicodedata
from dataclasses import dataclass
from typing import Literal

SUBJECT_CHARACTERS = 180
_ELLIPSIS = "\u2026"

Kind = Literal["report", "alert"]
ChannelName = Literal["mail", "webhook"]


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
    """A row that one sender holds: nobody else sends it meanwhile. ``target`` is the recipient."""

    outbox_id: int
    kind: Kind
    channel: ChannelName
    target: str
    subject: str
    text: str
    html: str | None
    attachment: Attachment | None
    message_id: str


def one_line(text: str, limit: int = SUBJECT_CHARACTERS) -> str:
    """Return the text as one line of at most ``limit`` characters, without control and invisible characters.

    Among the invisible ones are the marks that turn the direction of writing.
    """
    visible = (character for character in text if unicodedata.category(character) != "Cf")
    line = " ".join("".join(character if character.isprintable() else " " for character in visible).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + _ELLIPSIS


def storable(text: str) -> str:
    """Return the text with what PostgreSQL can't store escaped."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
