"""Ids: which texts name a company, a user and an event, and how an event's id becomes its UUID."""

import json
import re
import unicodedata
from typing import Final
from uuid import UUID, uuid5

from msgspec import ValidationError, convert

from analytics_pipeline.intake.rejection import RejectedEvent, shown

MAX_ID_CHARACTERS: Final = 200

# Never to be changed: every event whose id is derived would be another one, and count twice.
NAMESPACE: Final = UUID("6d5ac271-158a-46b5-88f3-1971ed3f9d57")

# Control characters, line and paragraph separators, and what Unicode has renderers leave out
# (Default_Ignorable_Code_Point): two ids that differ in these alone look the same.
UNSEEN_RANGES: Final = (
    (0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
_unseen = re.compile(f"[{''.join(f'{chr(first)}-{chr(last)}' for first, last in UNSEEN_RANGES)}]")
_first_unseen = _unseen.search
# The hyphens of a UUID may be left out, and braces or urn:uuid: may stand around it, as PostgreSQL and .NET write it.
_spells_uuid = re.compile(
    r"(?:urn:uuid:)?(?P<brace>\{)?[0-9a-fA-F]{8}(?P<hyphen>-?)[0-9a-fA-F]{4}(?:(?P=hyphen)[0-9a-fA-F]{4}){2}"
    r"(?P=hyphen)[0-9a-fA-F]{12}(?(brace)\})"
).fullmatch
# Compact, without escapes for what UTF-8 has: like the namespace, for ever.
_array = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_LARGEST_ID = 10**MAX_ID_CHARACTERS


def to_id(raw: object, field: str) -> str:
    """Return the id of a company or user as it is stored: a text in Unicode's normal form C, an integer as its digits.

    Raises ``RejectedEvent`` for what is neither, and as ``check_id`` does.
    """
    if isinstance(raw, str):
        text = raw if raw.isascii() else unicodedata.normalize("NFC", raw)
    elif isinstance(raw, int) and not isinstance(raw, bool) and -_LARGEST_ID < raw < _LARGEST_ID:
        text = str(raw)
    elif raw is None:
        raise RejectedEvent(f"{field} is missing", f"{field} is missing: every event has one.")
    else:
        raise RejectedEvent(
            f"{field} is not a text",
            f"{field} {shown(raw)} is neither a text nor a whole number of at most {MAX_ID_CHARACTERS} digits: put it "
            "in quotes.",
        )
    check_id(text, field)
    return text


def check_id(text: object, field: str) -> None:
    """Raise ``RejectedEvent`` unless the value is a text of 1 to 200 characters, none of them unseen, in form NFC."""
    if (
        isinstance(text, str)
        and 0 < len(text) <= MAX_ID_CHARACTERS
        and text.isascii()
        and text.isprintable()
        # The one blank a printable text can hold is the space.
        and text[0] != " "
        and text[-1] != " "
    ):
        return
    if text is None:
        raise RejectedEvent(f"{field} is missing", f"{field} is missing: every event has one.")
    check_text(text, field, MAX_ID_CHARACTERS)
    if not isinstance(text, str):
        return
    if found := _first_unseen(text):
        raise RejectedEvent(
            f"{field} holds a character that is not seen",
            f"{field} {shown(text)} holds the control or zero-width character U+{ord(found[0]):04X}: remove it.",
        )
    if not unicodedata.is_normalized("NFC", text):
        raise RejectedEvent(
            f"{field} is not in normal form",
            f"{field} {shown(text)} is not in Unicode's normal form C: build the event with new_event().",
        )


def visible_id(text: str) -> str:
    """Return the id as it would be stored today: in normal form C, without unseen characters and blanks around it."""
    return unicodedata.normalize("NFC", _unseen.sub("", text)).strip()


def check_text(text: object, field: str, limit: int) -> None:
    """Raise ``RejectedEvent`` unless the value is a text that can be stored, of 1 to ``limit`` characters, trimmed."""
    if isinstance(text, str) and 0 < len(text) <= limit and text.isprintable() and text[0] != " " and text[-1] != " ":
        return
    if text is None:
        raise RejectedEvent(f"{field} is missing", f"{field} is missing: every event has one.")
    if not isinstance(text, str):
        raise RejectedEvent(f"{field} is not a text", f"{field} {shown(text)} is not a text: put it in quotes.")
    if len(text) > limit:
        raise RejectedEvent(
            f"{field} is too long",
            f"{field} {shown(text)} has {len(text):,} characters: at most {limit} are kept.",
        )
    check_storable(text, field)
    if text != text.strip() or not text:
        raise RejectedEvent(
            f"{field} has blanks around it" if text.strip() else f"{field} is blank",
            f"{field} {shown(text)} is empty or has blanks around it: trim it, or leave an optional field out.",
        )


def check_storable(text: str, field: str) -> None:
    """Raise ``RejectedEvent`` for what no text of PostgreSQL can hold."""
    if "\0" in text:
        raise RejectedEvent("NUL character", f"{field} {shown(text)} holds a NUL character: remove it.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RejectedEvent(
            "not valid Unicode", f"{field} {shown(text)} holds half of a surrogate pair: repair its encoding."
        ) from error


def to_event_id(raw: object, company_id: str) -> tuple[UUID, str | None]:
    """Return the UUID of an event's id, and the id itself where it is no UUID: then it is derived, per company.

    Two companies may use the same id; an integer is the text of its digits. Raises ``RejectedEvent`` for what is
    neither, is blank, is longer than 200 characters, or can't be stored.
    """
    if isinstance(raw, str):
        try:
            # Compiled, and of the forms below reads all but braces and a prefix.
            return convert(raw, UUID), None
        except (ValidationError, UnicodeEncodeError):
            if _spells_uuid(raw):
                return UUID(raw), None
        text = raw
    elif isinstance(raw, UUID):
        return raw, None
    elif isinstance(raw, int) and not isinstance(raw, bool) and -_LARGEST_ID < raw < _LARGEST_ID:
        text = str(raw)
    elif raw is None:
        raise RejectedEvent(
            "event_id is missing",
            "event_id is missing: without it the same event sent twice would count twice.",
        )
    else:
        raise RejectedEvent(
            "event_id is not a text",
            f"event_id {shown(raw)} is neither a text nor a whole number of at most {MAX_ID_CHARACTERS} digits: put it "
            "in quotes.",
        )
    if not text or text.isspace():
        raise RejectedEvent("event_id is blank", f"event_id {shown(text)} is blank: give every event an id.")
    if len(text) > MAX_ID_CHARACTERS:
        raise RejectedEvent(
            "event_id is too long",
            f"event_id {shown(text)} has {len(text):,} characters: at most {MAX_ID_CHARACTERS} are kept.",
        )
    check_storable(text, "event_id")
    return uuid5(NAMESPACE, _array([company_id, text])), text
