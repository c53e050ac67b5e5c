"""What is said of a company, by a person, a file or an ERP: judged, and in one spelling."""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from analytics_pipeline.companies.time_zones import UTC, known_time_zones
from analytics_pipeline.currencies import ASSET_FORM, is_asset, is_currency
from analytics_pipeline.errors import UnknownNameError
from analytics_pipeline.events.aliases import load_aliases
from analytics_pipeline.events.erased import load_erased
from analytics_pipeline.events.ids import to_id
from analytics_pipeline.fx.show import stored_rates
from analytics_pipeline.intake.rejection import RejectedEvent, shown
from analytics_pipeline.intake.rejects import ERASED_COMPANY
from analytics_pipeline.locales import require_locale
from analytics_pipeline.timescale.connection import Connection

COMPANY: Final = "company_id"
FIELDS: Final = ("name", "time_zone", "currency", "locale", "is_test")
"""What may be said of a company, as the table calls it."""
MAX_NAME_CHARACTERS = 200
# Joiners of letters, which writing in Persian and in scripts of India needs; other unseen characters go.
_JOINERS = "\u200c\u200d"
_YES = frozenset({"true", "t", "yes", "y", "1"})
_NO = frozenset({"false", "f", "no", "n", "0"})


@dataclass(frozen=True, slots=True)
class CompanyValues:
    """What is said of a company: ``fields`` holds some of ``FIELDS``; None: as the platform has it, or no test."""

    company_id: str
    fields: Mapping[str, str | bool | None]


class CompanyParser:
    """Judges what is said of companies by what the database knows: its time zones, rates and former ids."""

    def __init__(self, connection: Connection) -> None:
        """Use the connection, which stays the caller's to close."""
        self._connection = connection
        self._aliases = load_aliases(connection)
        self._erased = load_erased(connection)

    def parse(self, raw: Mapping[str, object]) -> CompanyValues:
        """Return what a row says; an empty text is None. Raises ``RejectedEvent`` naming field, value and remedy.

        ``raw`` has ``company_id`` and any of ``FIELDS``, texts or None; ``is_test`` may be a bool.
        """
        if not (named := raw.get(COMPANY)):
            raise RejectedEvent(f"{COMPANY} is missing", f"{COMPANY} is missing: every company has one.")
        company_id = to_id(self._aliases.company(named), COMPANY)
        if self._erased.is_erased(company_id):
            raise RejectedEvent(ERASED_COMPANY, "its company was erased: nothing of it is kept. Choose another id.")
        judges: dict[str, Callable[[object], str | bool]] = {
            "name": _name,
            "time_zone": self._time_zone,
            "currency": self._currency,
            "locale": _locale,
            "is_test": _is_test,
        }
        fields: dict[str, str | bool | None] = {}
        for field in FIELDS:
            if field in raw:
                value = raw[field]
                text = value.strip() if isinstance(value, str) else value
                fields[field] = None if text is None or text == "" else judges[field](text)
        return CompanyValues(company_id, fields)

    @cached_property
    def _zones(self) -> Mapping[str, str]:
        return known_time_zones(self._connection)

    @cached_property
    def _rated(self) -> frozenset[str]:
        """What there are rates of."""
        return frozenset(stored_rates(self._connection).currencies)

    def _time_zone(self, value: object) -> str:
        text = str(value)
        zone = UTC if text == UTC else self._zones.get(text.lower())
        if zone is None:
            raise RejectedEvent(
                "unknown time zone", f"time_zone {shown(text)} is not known: give a name such as Europe/Berlin."
            )
        return zone

    def _currency(self, value: object) -> str:
        text = str(value)
        code = text if is_asset(text) else text.upper()
        if not is_asset(code):
            raise RejectedEvent("bad currency", f"currency {shown(text)} is {ASSET_FORM}.")
        if not is_currency(code) and code not in self._rated:
            raise RejectedEvent(
                "unknown currency",
                f"currency {shown(text)} is no currency (ISO 4217), and there is no rate of such a crypto asset: check "
                "its spelling, or load rates of it.",
            )
        return code


def _name(value: object) -> str:
    text = unicodedata.normalize("NFC", str(value))
    seen = "".join(character if character.isprintable() or character in _JOINERS else " " for character in text)
    name = " ".join(seen.split())
    if not name.strip(_JOINERS):
        raise RejectedEvent("blank name", f"name {shown(value)} holds nothing that can be seen: leave it out.")
    if len(name) > MAX_NAME_CHARACTERS:
        raise RejectedEvent(
            "name too long", f"name {shown(name)} has {len(name)} characters: at most {MAX_NAME_CHARACTERS} are kept."
        )
    return name


def _locale(value: object) -> str:
    try:
        return require_locale(str(value))
    except UnknownNameError:
        raise RejectedEvent(
            "unknown locale", f"locale {shown(value)} is not known: give one such as en_GB or de_CH."
        ) from None


def _is_test(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in _YES | _NO:
        raise RejectedEvent("bad is_test", f"is_test {shown(value)} is neither true nor false.")
    return text in _YES
