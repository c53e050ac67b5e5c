"""Who is erased: the ids, what takes their place, and where in a text, a value of JSON or a file's text they stand."""

import html
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote

from analytics_pipeline.events.erased import (
    SUBSCRIPTION,
    ErasedIds,
    concealed_record,
    is_part,
    pseudonym_alone,
    replace_word,
    without_person,
)
from analytics_pipeline.events.exact_json import parse_json, to_json
from analytics_pipeline.events.sources import split_name
from analytics_pipeline.intake.rejection import RejectedEvent

# Keys of JSON whose values are ids, however plain the ids are.
_USER_KEYS: Final = frozenset({"user_id", "userId", "event_user_id", "user", "former_user_id"})
_COMPANY_KEYS: Final = frozenset({"company_id", "companyId", "company"})
_LEAST_TOLD_CHARACTERS: Final = 5
_DIGITS_TOLD: Final = 9
_LIKE: Final = re.compile(r"[%_\\]")


def is_told(id_: str) -> bool:
    """Return whether an id is told from ordinary words, numbers and dates wherever it stands.

    It has letters and something else, or is a long number.
    """
    if id_.isdigit():
        return len(id_) >= _DIGITS_TOLD
    has_letter = any(character.isalpha() for character in id_)
    return has_letter and not id_.isalpha() and len(id_) >= _LEAST_TOLD_CHARACTERS


def new_pseudonym(id_: str, kind: str) -> str:
    """Return a random name for an id; for a mail address one that looks like an address, where only such may stand."""
    name = f"erased-{kind}-{secrets.token_hex(8)}"
    return f"{name}@erased.invalid" if "@" in id_ else name


@dataclass(frozen=True)
class Subject:
    """A person of a company, or (``user_id`` None) a company.

    ``stored_as`` holds the ids, former ones included, with what takes their place. Those of ``told`` are looked for
    within texts, and not only where an id stands by itself. ``erased`` recognises them in records.
    """

    company_id: str
    user_id: str | None
    stored_as: Mapping[str, str]
    told: frozenset[str]
    erased: ErasedIds = field(default_factory=ErasedIds)

    @property
    def is_company(self) -> bool:
        """Whether it is a company."""
        return self.user_id is None

    @property
    def in_texts(self) -> bool:
        """Whether one of the ids is looked for within texts."""
        return bool(self.told)

    @property
    def ids(self) -> list[str]:
        """The ids, the present one first."""
        return list(self.stored_as)

    @property
    def pseudonym(self) -> str:
        """What takes the place of the present id."""
        return next(iter(self.stored_as.values()))

    @cached_property
    def forms(self) -> list[str]:
        """How the ids may be written within texts of other formats."""
        return list(self._forms)

    def may_be_in(self, text: str) -> bool:
        """Whether one of these forms stands in a text, in upper or lower case: what doesn't need not be read."""
        folded = text.lower()
        return any(form.lower() in folded for form in self.forms)

    @cached_property
    def _forms(self) -> Mapping[str, str]:
        """Each form with the id that it is of."""
        forms: dict[str, str] = {}
        for id_ in self.stored_as:
            plain = json.dumps(id_, ensure_ascii=False)[1:-1]
            for form in (id_, plain, json.dumps(id_)[1:-1], html.escape(id_), quote(id_, safe=""), quote(id_)):
                forms.setdefault(form, id_)
        return forms

    @cached_property
    def in_cells(self) -> re.Pattern[str]:
        """A company as a cell of a table, in a page or a file, however plain its id is."""
        return re.compile(rf'(?m)(?:^|[>",;\t]){re.escape(self.company_id)}(?:$|[<",;\t\r]|\s+[-+\d\u2212\u2013])')

    @cached_property
    def _figure(self) -> re.Pattern[str]:
        """A company as the registered figures of a document name it."""
        return re.compile(rf"(companies/[^/]+/|Companies, ){re.escape(self.company_id)}(?=$|: )")

    @cached_property
    def _keyed(self) -> re.Pattern[str]:
        """A company within JSON that is a text, under keys that say what it is."""
        keys, ids = "|".join(sorted(_COMPANY_KEYS)), "|".join(map(re.escape, self.stored_as))
        return re.compile(rf'(\\*"(?:{keys})\\*"\s*:\s*\\*")({ids})(?=\\*")')

    @cached_property
    def patterns(self) -> list[str]:
        """What LIKE finds lower-case texts by that may name it; what it finds is judged here."""
        return sorted({f"%{_LIKE.sub(_escaped, form.lower())}%" for form in self.forms})

    def text(self, text: str, *, alone: bool = True, within: bool = False) -> str:
        """Return a text with the pseudonym where an id stands: as a word in it if it is told, or as the whole of it.

        However plain it is: as the whole of it unless ``alone`` is False, as a word in it if ``within``.
        """
        if alone and text in self.stored_as:
            return self.stored_as[text]
        if self.is_company and '"' in text:
            text = self._keyed.sub(lambda found: f"{found[1]}{self.stored_as[found[2]]}", text)
        folded = text.lower()
        for form, id_ in self._forms.items():
            if form.lower() in folded and (within or id_ in self.told):
                text = replace_word(text, form, self.stored_as[id_])
        return text

    def names(self, text: str) -> bool:
        """Return whether an id stands in a text of a file."""
        return self.text(text) != text

    def suspects(self, text: str) -> bool:
        """Return whether an id that is told may stand in a text as a part of a longer word, which is left alone."""
        folded = text.lower()
        forms = [form for form, id_ in self._forms.items() if id_ in self.told and form.lower() in folded]
        if not forms:
            return False
        text = self.text(text)
        return any(is_part(text, form) for form in forms)

    def subscription(self, text: str) -> str:
        """Return the name of a subscription with the pseudonym in it, as a part of a longer word, too."""
        if text in self.stored_as:
            return self.stored_as[text]
        return text if self.is_company else self.erased.subscription(self.company_id, text)

    def concealed(self, user_id: str | None, metadata: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Return user and metadata of an event of the company as they are kept, and as it would be recorded again."""
        if user_id is not None and user_id in self.stored_as:
            pseudonym = self.stored_as[user_id]
            user_id, metadata = pseudonym, without_person(metadata, user_id, pseudonym)
        return self.erased.concealed(self.company_id, user_id, metadata)

    def file_name(self, name: str) -> str:
        """Return a name of a file, in whatever folder, with the pseudonym where an id stands before its endings."""
        folders, slash, file = name.rpartition("/")
        stem, endings = split_name(file)
        return f"{folders}{slash}{self.text(stem)}{endings}"

    def json(self, value: Any, key: str = "") -> Any:
        """Return a value of JSON with the pseudonym where an id stands; of a person's own record without metadata."""
        if isinstance(value, str):
            return self._json_text(value, key)
        if isinstance(value, int) and not isinstance(value, bool) and key in self._id_keys:
            return self.stored_as.get(str(value), value)
        if isinstance(value, Mapping):
            return self._json_object(value)
        return [self.json(item, key) for item in value] if isinstance(value, list) else value

    def is_record_of(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record, of whatever form, is one of the person, or of the company."""
        company = record.get("company_id")
        if self.is_company:
            return company in self.stored_as
        return company in (None, self.company_id) and str(record.get("user_id")) in self.stored_as

    @property
    def _id_keys(self) -> frozenset[str]:
        return _COMPANY_KEYS if self.is_company else _USER_KEYS

    def _json_text(self, text: str, key: str) -> str:
        if text in self.stored_as:
            return self.stored_as[text] if text in self.told or key in self._id_keys else text
        if key.removeprefix("metadata.") == SUBSCRIPTION:
            text = self.subscription(text)
        if self.is_company:
            text = self._figure.sub(lambda found: f"{found[1]}{self.pseudonym}", text)
        return self.text(text)

    def _json_object(self, value: Mapping[str, Any]) -> dict[str, Any]:
        if not self.is_company and value.get("company_id") not in (None, self.company_id):
            # A user of another company is another person.
            return dict(value)
        if not self.is_company and self.is_record_of(value) and "metadata" in value:
            user_id = str(value["user_id"])
            value = {**value, "metadata": _kept_metadata(value["metadata"], user_id, self.stored_as[user_id])}
        return {self._json_text(name, ""): self.json(item, name) for name, item in value.items()}


def without_record(text: str, subject: Subject, *, within: bool = False) -> str:
    """Return the text of a rejected record as ingestion would keep it now; ``within`` as for ``Subject.text``.

    It is about records whose fields are not known.
    """
    content = object_of(text)
    if content is None:
        return pseudonym_alone(text, subject.text(text, within=within))
    if subject.is_record_of(content) and not subject.is_company:
        return concealed_record(content, subject.stored_as[str(content["user_id"])])
    return pseudonym_alone(text, subject.text(text))


def object_of(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text is, None if it is none."""
    try:
        content = parse_json(text)
    except RejectedEvent:
        return None
    return content if isinstance(content, dict) else None


def _kept_metadata(metadata: Any, user_id: str, pseudonym: str) -> Any:
    """Return of a person's metadata, an object or its text, what figures are made of."""
    if isinstance(metadata, Mapping):
        return without_person(metadata, user_id, pseudonym)
    if not isinstance(metadata, str):
        return None
    try:
        parsed = parse_json(metadata)
    except RejectedEvent:
        return None
    return to_json(without_person(parsed, user_id, pseudonym)) if isinstance(parsed, dict) else None


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[0]}"


def any_names(subject: Subject, texts: Iterable[str]) -> bool:
    """Return whether one of the texts names it; of a long id the line breaks within it don't count."""
    for text in texts:
        if subject.names(text) or (subject.is_company and subject.in_cells.search(text)):
            return True
        if subject.in_texts and any(
            len(id_) > _DIGITS_TOLD and id_.lower() in "".join(text.split()).lower() for id_ in subject.told
        ):
            return True
    return False
