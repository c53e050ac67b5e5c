"""Erased ids: records that still name them are recorded under the pseudonym, and those of an erased company are not.

The ids themselves are nowhere: a record's id is recognised by its digest, under a key of the database.
"""

import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from analytics_pipeline.events.ids import MAX_ID_CHARACTERS
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

# Of an erased person's rejected record.
KEPT_FIELDS: Final = ("event_id", "timestamp", "company_id", "user_id", "event_type", "category", "value", "currency")

# Where an id may begin within a text: not within a word, but behind what is escaped in JSON or in an address.
_BEFORE = r"(?:(?<![\w@+-])(?<!\w\.)|(?<=\\[bfnrt])|(?<=%[0-9A-Fa-f]{2}))"
# Behind a full stop: a sentence, or the ending of a file. Anything else there belongs to a longer id.
_ENDING = (
    r"(?:(?-i:[^\W\d_a-z](?![^\W_a-z]))"
    r"|(?i:csv|eml|gz|html?|jsonl?|log|md|ndjson|parquet|pdf|png|svg|tmp|tsv|txt|xlsx|xml|ya?ml|zip|zst)(?![\w@+-]))"
)
_AFTER = rf"(?![\w@+-])(?!\.(?!{_ENDING})[\w@+-])"
_LETTER = r"(?:[\w@+-]|%[0-9A-Fa-f]{2})"
_starts = re.compile(rf"{_BEFORE}(?=\S)")
_end = re.compile(_AFTER)
# An id that is one word.
_token = re.compile(rf"{_LETTER}+(?:\.{_LETTER}+)*")
# Parts of a longer word are bounded by whatever is neither letter nor digit.
_part_starts = re.compile(r"(?<![^\W_])(?=[^\W_])")
_part_ends = re.compile(r"(?<=[^\W_])(?![^\W_])")
_OF_PERSON = "(a record of an erased person)"
SUBSCRIPTION: Final = "subscription_id"
_array = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class ErasedId:
    """What is known of an erased id: what it is recorded as, and whether it is looked for within texts."""

    recorded_as: str
    in_texts: bool


@dataclass(frozen=True, slots=True)
class ErasedIds:
    """The ids that were erased, by their digests.

    ``lengths`` holds how many characters those have that are more than one word: within a text only that tells where
    one ends.
    """

    key: bytes = b""
    ids: Mapping[bytes, ErasedId] = field(default_factory=dict)
    lengths: tuple[int, ...] = ()

    def digest(self, company_id: str, user_id: str | None = None) -> bytes:
        """Return by what a company, or a user of it, is recognised."""
        return _digest(self.key, (company_id,) if user_id is None else (company_id, user_id))

    def digest_of_length(self, characters: int) -> bytes:
        """Return by what it is recognised that some id of several words has so many characters. No company is ''."""
        return self.digest("", str(characters))

    def digest_of_address(self, company_id: str, address: str) -> bytes:
        """Return by what a user's mail address is recognised within texts, where the case of letters doesn't count."""
        return self.digest("", _array([company_id, address.lower()]))

    def with_users(self, company_id: str, users: Iterable[str], recorded_as: str, told: Set[str]) -> "ErasedIds":
        """Return these with users of a company; ``told`` are those of them that are looked for within texts."""
        ids = dict(self.ids)
        for user_id in users:
            ids[self.digest(company_id, user_id)] = ErasedId(recorded_as, user_id in told)
            if user_id in told and "@" in user_id:
                ids[self.digest_of_address(company_id, user_id)] = ErasedId(recorded_as, in_texts=True)
        return ErasedIds(self.key, ids, tuple(sorted({*self.lengths, *lengths_of(told)}, reverse=True)))

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
        if whole is not None:
            return whole
        spans = ((start.start(), end) for start in _starts.finditer(text) for end in self._ends(text, start.start()))
        return self._replaced(company_id, text, spans)

    def subscription(self, company_id: str, text: str) -> str:
        """Return the name of a subscription, in which ids are also found as parts of a longer word."""
        text = self.text(company_id, text)
        if not self.ids or len(text) > MAX_ID_CHARACTERS:
            return text
        ends = [end.start() for end in _part_ends.finditer(text)][::-1]
        starts = [start.start() for start in _part_starts.finditer(text)]
        return self._replaced(company_id, text, ((start, end) for start in starts for end in ends if end > start))

    def value(self, company_id: str, value: Any, name: str = "") -> Any:
        """Return a value of JSON of the company, with every text and key in it as ``text`` returns it."""
        if isinstance(value, str):
            return self.subscription(company_id, value) if name == SUBSCRIPTION else self.text(company_id, value)
        if isinstance(value, dict):
            return {self._key(company_id, key): self.value(company_id, item, key) for key, item in value.items()}
        return [self.value(company_id, item, name) for item in value] if isinstance(value, list) else value

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
            # As a text the record may have the id in an escaped form.
            if (value := dict(content)) != self.value(company_id, value):
                return _OF_PERSON
        return pseudonym_alone(text, self.text(company_id, text))

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a rejected row of an ERP as it may be kept."""
        company_id = row.get("company_id")
        if not self.ids or not isinstance(company_id, str):
            return dict(row)
        pseudonym = self.pseudonym(company_id, row.get("user_id"))
        if pseudonym is None:
            return {name: self.value(company_id, value, name) for name, value in row.items()}
        # Keys of an ERP's rows may be made of the ids in them.
        key = replace_word(str(row["source_key"]), str(row["user_id"]), pseudonym)
        return {**row, "user_id": pseudonym, "source_key": key, "metadata": None}

    def _key(self, company_id: str, key: Any) -> Any:
        # A row of a table may have cells without a column.
        return self.text(company_id, key) if isinstance(key, str) else key

    def _ends(self, text: str, start: int) -> Iterator[int]:
        """Yield where an id that begins there may end, the longest first."""
        for length in self.lengths:
            if start + length <= len(text) and _end.match(text, start + length):
                yield start + length
        word = _token.match(text, start)
        if word is None:
            return
        yield word.end()
        for position in range(word.end() - 1, start, -1):
            if text[position] in ".%" and _end.match(text, position):
                yield position

    def _replaced(self, company_id: str, text: str, spans: Iterable[tuple[int, int]]) -> str:
        """Return the text with a pseudonym for each span that is an erased id, the first one of those that overlap."""
        parts, done = [], 0
        for start, end in spans:
            if start >= done and (found := self._in_text(company_id, text[start:end])) is not None:
                parts += [text[done:start], found]
                done = end
        return "".join([*parts, text[done:]])

    def _in_text(self, company_id: str, word: str) -> str | None:
        for form in dict.fromkeys((word, unquote(word))):
            if len(form) > MAX_ID_CHARACTERS:
                continue
            digests = [self.digest(company_id, form)]
            if "@" in form:
                digests.append(self.digest_of_address(company_id, form))
            for digest in digests:
                found = self.ids.get(digest)
                if found is not None and found.in_texts:
                    return found.recorded_as
        return None


NO_ERASED: Final = ErasedIds()


def load_erased(connection: Connection) -> ErasedIds:
    """Return the erased ids that the database knows."""
    with connection.transaction():
        rows = connection.execute(load_query("erased_ids")).fetchall()
    if not rows:
        return NO_ERASED
    ids = {bytes(digest): ErasedId(recorded_as, in_texts) for _, digest, recorded_as, in_texts in rows}
    erased = ErasedIds(bytes(rows[0][0]), ids)
    lengths = [n for n in range(MAX_ID_CHARACTERS, 0, -1) if erased.digest_of_length(n) in ids]
    return ErasedIds(erased.key, ids, tuple(lengths))


def lengths_of(ids: Iterable[str]) -> set[int]:
    """Return how many characters those of the ids have that are more than one word."""
    return {len(id_) for id_ in ids if not _token.fullmatch(id_)}


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


def is_part(text: str, word: str) -> bool:
    """Return whether the id stands in the text between whatever is neither letter nor digit: in a longer word, too."""
    return _part(word).search(text) is not None


@lru_cache(maxsize=64)
def _word(word: str) -> "re.Pattern[str]":
    return re.compile(f"{_BEFORE}{re.escape(word)}{_AFTER}", re.IGNORECASE if "@" in word else 0)


@lru_cache(maxsize=64)
def _part(word: str) -> "re.Pattern[str]":
    return re.compile(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", re.IGNORECASE)


@lru_cache(maxsize=1 << 15)
def _digest(key: bytes, names: tuple[str, ...]) -> bytes:
    return hmac.digest(key, _array(names).encode("utf-8", "surrogatepass"), "sha256")


def concealed_record(content: Mapping[str, Any], pseudonym: str) -> str:
    """Return a rejected record of a person as JSON: the event's own fields, with the pseudonym, without metadata."""
    fields = {name: content[name] for name in KEPT_FIELDS if name in content}
    return json.dumps({**fields, "user_id": pseudonym}, ensure_ascii=False, default=str)


def pseudonym_alone(text: str, concealed: str) -> str:
    """Return a record unless it named a person: of one whose fields are not known nothing but that is kept."""
    return text if concealed == text else _OF_PERSON
