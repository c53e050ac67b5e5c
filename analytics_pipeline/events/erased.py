"""Erased ids: records that still name them are recorded under the pseudonym, and those of an erased company are not.

The ids themselves are nowhere: a record's id is recognised by its digest, under a key of the database.
"""

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.intake.rejects import ERASED_COMPANY
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection

if TYPE_CHECKING:
    from analytics_pipeline.events.model import AnalyticsEvent

# Of the metadata of an erased person's events stays what figures are made of: whatever else stands there may be
# personal.
KEPT_METADATA: Final = (
    "subscription_id", "interval", "interval_count", "quantity", "status", "sequence",
    "fiat_value", "fiat_currency", "asset",
)  # fmt: skip

# Of a rejected record.
_KEPT_FIELDS: Final = ("event_id", "timestamp", "company_id", "user_id", "event_type", "category", "value", "currency")

# What may be an id within a text; a full stop at its end is the sentence's.
_words = re.compile(r"[\w@+-]+(?:\.[\w@+-]+)*")
_array = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class ErasedId:
    """What is known of an erased id: what it is recorded as, and whether it is looked for within texts."""

    recorded_as: str
    in_texts: bool


@dataclass(frozen=True, slots=True)
class ErasedIds:
    """The ids that were erased, by their digests."""

    key: bytes = b""
    ids: Mapping[bytes, ErasedId] = field(default_factory=dict)

    def digest(self, company_id: str, user_id: str | None = None) -> bytes:
        """Return by what a company, or a user of it, is recognised."""
        return hmac.digest(
            self.key, _array([company_id] if user_id is None else [company_id, user_id]).encode(), "sha256"
        )

    def is_erased(self, company_id: str) -> bool:
        """Return whether the company was erased."""
        return bool(self.ids) and self.digest(company_id) in self.ids

    def pseudonym(self, company_id: str, user_id: object) -> str | None:
        """Return what an erased user of the company is recorded as, None for everybody else."""
        if not self.ids or not isinstance(user_id, str | int) or isinstance(user_id, bool):
            return None
        found = self.ids.get(self.digest(company_id, str(user_id)))
        return None if found is None else found.recorded_as

    def text(self, company_id: str, text: str) -> str:
        """Return a text of the company with a pseudonym for each erased id that stands in it as a whole word."""
        if not self.ids:
            return text
        whole = self._in_text(company_id, text)
        return whole if whole != text else _words.sub(lambda word: self._in_text(company_id, word[0]), text)

    def value(self, company_id: str, value: Any) -> Any:
        """Return a value of JSON of the company, with every text in it as ``text`` returns it."""
        if isinstance(value, str):
            return self.text(company_id, value)
        if isinstance(value, dict):
            return {name: self.value(company_id, item) for name, item in value.items()}
        return [self.value(company_id, item) for item in value] if isinstance(value, list) else value

    def conceal(self, event: "AnalyticsEvent") -> "AnalyticsEvent":
        """Return the event as it may be recorded: of an erased user with the pseudonym, and with what figures need.

        Raises ``RejectedEvent`` for one of an erased company.
        """
        if not self.ids:
            return event
        if self.is_erased(event.company_id):
            raise RejectedEvent(ERASED_COMPANY, "its company was erased: nothing of it is kept.")
        user_id, metadata = self.concealed(event.company_id, event.user_id, event.metadata)
        if (user_id, metadata) == (event.user_id, event.metadata):
            return event
        return event._replace(user_id=user_id, metadata=metadata)

    def concealed(
        self, company_id: str, user_id: str | None, metadata: dict[str, Any]
    ) -> tuple[str | None, dict[str, Any]]:
        """Return user and metadata of an event of the company as they may be recorded."""
        pseudonym = self.pseudonym(company_id, user_id)
        if pseudonym is not None:
            user_id, metadata = pseudonym, without_person(metadata, str(user_id), pseudonym)
        return user_id, self.value(company_id, metadata) if metadata else metadata

    def record(self, company_id: object, content: object, text: str) -> str:
        """Return the text of a rejected record as it may be kept: of an erased user's the event's fields alone."""
        if not self.ids or not isinstance(company_id, str):
            return text
        if isinstance(content, Mapping):
            pseudonym = self.pseudonym(company_id, content.get("user_id"))
            if pseudonym is not None:
                return concealed_record(content, pseudonym)
        return pseudonym_alone(text, self.text(company_id, text))

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a rejected row of an ERP as it may be kept."""
        company_id = row.get("company_id")
        if not self.ids or not isinstance(company_id, str):
            return dict(row)
        pseudonym = self.pseudonym(company_id, row.get("user_id"))
        if pseudonym is None:
            return {name: self.value(company_id, value) for name, value in row.items()}
        # Keys of an ERP's rows may be made of the ids in them.
        key = replace_word(str(row["source_key"]), str(row["user_id"]), pseudonym)
        return {**row, "user_id": pseudonym, "source_key": key, "metadata": None}

    def _in_text(self, company_id: str, word: str) -> str:
        found = self.ids.get(self.digest(company_id, word))
        return found.recorded_as if found is not None and found.in_texts else word


NO_ERASED: Final = ErasedIds()


def load_erased(connection: Connection) -> ErasedIds:
    """Return the erased ids that the database knows."""
    with connection.transaction():
        rows = connection.execute(load_query("erased_ids")).fetchall()
    if not rows:
        return NO_ERASED
    ids = {bytes(digest): ErasedId(recorded_as, in_texts) for _, digest, recorded_as, in_texts in rows}
    return ErasedIds(bytes(rows[0][0]), ids)


def without_person(metadata: Mapping[str, Any], user_id: str, pseudonym: str) -> dict[str, Any]:
    """Return of a person's metadata what figures are made of; a subscription that is named as the person is not."""
    kept = {name: metadata[name] for name in KEPT_METADATA if name in metadata}
    if kept.get("subscription_id") == user_id:
        kept["subscription_id"] = pseudonym
    return kept


def replace_word(text: str, word: str, other: str) -> str:
    """Return a text with another word for each one that is the given id as a whole.

    The case of letters counts but for mail addresses.
    """
    return _word(word).sub(lambda _: other, text)


@lru_cache(maxsize=64)
def _word(word: str) -> "re.Pattern[str]":
    return re.compile(rf"(?<![\w@+-])(?<!\w\.){re.escape(word)}(?!\.?[\w@+-])", re.IGNORECASE if "@" in word else 0)


def concealed_record(content: Mapping[str, Any], pseudonym: str) -> str:
    """Return a rejected record of a person as JSON: the event's own fields, with the pseudonym, without metadata."""
    fields = {name: content[name] for name in _KEPT_FIELDS if name in content}
    return json.dumps({**fields, "user_id": pseudonym}, ensure_ascii=False, default=str)


def pseudonym_alone(text: str, concealed: str) -> str:
    """Return a record unless it named a person: of one whose fields are not known nothing but that is kept."""
    return text if concealed == text else "(a record of an erased person)"
