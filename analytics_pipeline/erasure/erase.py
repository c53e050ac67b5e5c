"""Erasing: what it would touch, doing it place by place, and the proof that nothing is left."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from psycopg.types.json import Jsonb

from analytics_pipeline.erasure.place import Place
from analytics_pipeline.erasure.subject import Subject, is_told, new_pseudonym
from analytics_pipeline.errors import RefusedError, UnknownNameError
from analytics_pipeline.events.erased import ErasedIds, lengths_of, load_erased
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.connection import Connection, advisory_lock, fetch_row

ACT = "erasure.finish"
NOT_REACHED = (
    "backups and exports of events that were made before: let them expire, or restore one, erase there and back it up",
    "the write-ahead log, archives of it and replicas, until they have moved on; row versions that no vacuum has "
    "removed yet",
    "mails and messages that were sent, documents that were downloaded, files that somebody has taken elsewhere",
    "logs of programs and of the database server",
    "the ERP: a row there that still names the person is recorded under the pseudonym, one of the company is not",
)
_LOCK_CLASS = 7_261_947


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an erasure has done: its number, what took the id's place, how much was touched and what is left.

    ``suspected`` are places that may hold an id as a part of a longer word: they are left for somebody to look at.
    """

    erasure_id: int
    pseudonym: str
    touched: Mapping[str, int]
    left: Sequence[str]
    suspected: Sequence[str]


def require_owner(connection: Connection) -> None:
    """Raise ``RefusedError`` for a role that may not change every table."""
    may, owner = fetch_row(connection, load_query("erasure_may_be_done"))
    if not may:
        raise RefusedError(f"Only the owner of the tables may erase: connect as {owner}, or a member of it.")


def subject_of(
    connection: Connection, company_id: str, user_id: str | None, *, in_texts: bool, is_known: Callable[[str], bool]
) -> Subject:
    """Return who is meant, with the former ids; nothing is changed.

    An erasure that was begun goes on with its pseudonym, and one that is finished does when it is repeated. Raises
    ``UnknownNameError`` for a company or user that nothing here names and that was never erased; ``is_known`` says
    whether a company is.
    """
    company_id = unicodedata.normalize("NFC", company_id)
    user_id = None if user_id is None else unicodedata.normalize("NFC", user_id)
    erased = load_erased(connection)
    begun = _begun(connection, erased, company_id, user_id)
    if user_id is None:
        if not begun and not is_known(company_id):
            raise UnknownNameError(f"No such company is known: {company_id!r}. Spell it as in the events.")
        stored_as = {company_id: _pseudonym(begun, erased, company_id, None) or new_pseudonym(company_id, "company")}
        return Subject(company_id, None, stored_as, _told(stored_as, in_texts=in_texts), erased)
    names = connection.execute(load_query("erasure_names"), {"company": company_id, "user": user_id}).fetchall()
    present = names[0][0] if names else user_id
    known = [present, user_id, *(former for _, former in names)]
    # Within texts, and before ids had a normal form, they are as they came.
    ids = list(dict.fromkeys([*known, *(unicodedata.normalize("NFD", id_) for id_ in known)]))
    if (
        not begun
        and not fetch_row(connection, load_query("erasure_is_known"), {"company": company_id, "users": ids})[0]
    ):
        raise UnknownNameError(
            f"No such user of {company_id!r} is known: {user_id!r}. Spell it as in the events, capitals included."
        )
    stored_as = {id_: _pseudonym(begun, erased, company_id, id_) or new_pseudonym(id_, "user") for id_ in ids}
    told = _told(stored_as, in_texts=in_texts)
    erased = erased.with_users(company_id, stored_as, next(iter(stored_as.values())), told)
    return Subject(company_id, user_id, stored_as, told, erased)


def count(places: Sequence[Place], subject: Subject) -> dict[str, int]:
    """Return how much would be touched, by place."""
    counts: Counter[str] = Counter()
    for place in places:
        counts.update(place.count(subject))
    return {name: number for name, number in counts.items() if number}


def erase(connection: Connection, places: Sequence[Place], subject: Subject, touched: Mapping[str, int]) -> Outcome:
    """Erase in every place, and search all of them; autocommit connection. ``touched`` is what was counted before.

    Killed, the same call goes on. That it was done is recorded without the ids. Raises ``RefusedError`` while another
    erasure of the same was begun a moment ago.
    """
    with advisory_lock(connection, _LOCK_CLASS, "erase"):
        subject, erasure_id = _begin(connection, subject)
        for place in places:
            place.erase(subject)
        # Last of all: by former names an interrupted erasure finds all ids again.
        values = {"company": subject.company_id, "user": subject.user_id, "ids": subject.ids}
        connection.execute(load_query("erasure_delete_aliases"), values)
        left = search(places, subject)
        with connection.transaction():
            if not left:
                parameters = {"erasure_id": erasure_id, "places": Jsonb(dict(touched))}
                connection.execute(load_query("erasure_finish"), parameters)
                kind = "company" if subject.is_company else "user"
                audit.record(connection, ACT, subject.pseudonym, {"kind": kind, "places": touched})
    suspected = [line for place in places for line in place.suspect(subject)]
    return Outcome(erasure_id, subject.pseudonym, touched, left, suspected)


def search(places: Sequence[Place], subject: Subject) -> list[str]:
    """Return where something is left, a line each; empty: nothing is."""
    return [line for place in places for line in place.search(subject)]


def _begin(connection: Connection, subject: Subject) -> tuple[Subject, int]:
    """Keep the pseudonyms: from now on records that name the ids bear them. Those of one that was begun stay."""
    with connection.transaction():
        connection.execute(load_query("erasure_key"))
        erased = ErasedIds(bytes(fetch_row(connection, "SELECT key FROM analytics_erasure_key")[0]))
        digests = {id_: _digest(erased, subject, id_) for id_ in subject.ids}
        rows = [(digests[id_], pseudonym, id_ in subject.told) for id_, pseudonym in subject.stored_as.items()]
        if not subject.is_company:
            addresses = {erased.digest_of_address(subject.company_id, id_) for id_ in subject.told if "@" in id_}
            rows += [(digest, subject.pseudonym, True) for digest in addresses]
        number: int = fetch_row(
            connection,
            load_query("erasure_begin"),
            {
                "kind": "company" if subject.is_company else "person",
                "pseudonym": subject.pseudonym,
                "digests": [digest for digest, _, _ in rows],
                "stored_as": [pseudonym for _, pseudonym, _ in rows],
                "in_texts": [in_texts for _, _, in_texts in rows],
            },
        )[0]
        if not subject.is_company:
            lengths = [erased.digest_of_length(length) for length in lengths_of(subject.told)]
            connection.execute(load_query("erasure_lengths"), {"erasure_id": number, "digests": lengths})
    known = load_erased(connection)
    if any(known.ids[digest].recorded_as != subject.pseudonym for digest in digests.values()):
        raise RefusedError("Somebody else has begun to erase the same just now: repeat the command.")
    return replace(subject, erased=known), number


def _begun(connection: Connection, erased: ErasedIds, company_id: str, user_id: str | None) -> Mapping[bytes, str]:
    if not erased.ids:
        return {}
    digest = erased.digest(company_id, user_id)
    rows = connection.execute(load_query("erasure_begun"), {"digest": digest}).fetchall()
    return {bytes(known): stored_as for known, stored_as in rows}


def _pseudonym(begun: Mapping[bytes, str], erased: ErasedIds, company_id: str, user_id: str | None) -> str | None:
    return begun.get(erased.digest(company_id, user_id)) if begun else None


def _told(ids: Iterable[str], *, in_texts: bool) -> frozenset[str]:
    return frozenset(id_ for id_ in ids if in_texts or is_told(id_))


def _digest(erased: ErasedIds, subject: Subject, id_: str) -> bytes:
    return erased.digest(id_) if subject.is_company else erased.digest(subject.company_id, id_)
