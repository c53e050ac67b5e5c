"""The calendar of a company or of the platform: whose days and months, in which currency, written in which notation.

What a company's row leaves open is filled in here, and nowhere else in Python. Dates become instants in the database
alone (``analytics_local_start``): its data of time zones and Python's differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analytics_pipeline.companies.time_zones import UTC, known_time_zones, require_time_zone
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.fx.show import require_known_currency
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection

ALL_COMPANIES = "All companies"
"""What figures over all companies together are called."""

Calendars = Mapping[str | None, "Calendar"]
"""Calendars by the company's id, under None the platform's."""

# Spelled as the database does: its list of zones takes some milliseconds, and a process has one setting.
_platform_zones: dict[str, str] = {UTC: UTC}


@dataclass(frozen=True, slots=True)
class Calendar:
    """How a company, or with ``company_id`` None the platform, is called, and how it counts time and money.

    ``name`` is the company's id where it has no name. ``time_zone`` is a name of IANA, ``currency`` a code of ISO 4217
    or a ticker, ``locale`` one that Babel knows, such as ``de_CH``. ``is_test``: figures over all companies leave it
    out.
    """

    company_id: str | None
    name: str
    time_zone: str
    currency: str
    locale: str
    is_test: bool = False


def calendar_of(connection: Connection, settings: Settings, company_id: str | None) -> Calendar:
    """Return the calendar of a company, known or not; None: the platform's.

    Raises ``AnalyticsError`` if the database doesn't know ANALYTICS_TIME_ZONE.
    """
    if company_id is None:
        return platform_calendar(connection, settings)
    return calendar_in(calendars_of(connection, settings, [company_id]), company_id)


def calendar_asked(
    connection: Connection, settings: Settings, company_id: str | None, time_zone: str | None, currency: str | None
) -> Calendar:
    """Return the calendar of a company, None: the platform's, in the time zone and the currency that are asked for.

    Raises ``UnknownNameError`` for a time zone or a currency that nobody knows.
    """
    calendar = calendar_of(connection, settings, company_id)
    return replace(
        calendar,
        time_zone=require_time_zone(connection, time_zone) if time_zone else calendar.time_zone,
        currency=require_known_currency(connection, currency or calendar.currency),
    )


def all_calendars(connection: Connection, settings: Settings) -> Calendars:
    """Return the calendars of the companies that have a row, by id, and under None the platform's.

    A company without a row has the platform's, under its own id: ``calendar_in``.
    """
    return calendars_of(connection, settings, None)


def calendars_of(connection: Connection, settings: Settings, companies: Sequence[str] | None) -> Calendars:
    """Return ``all_calendars`` of some companies, None: of all of them."""
    platform = platform_calendar(connection, settings)
    parameters = {"companies": None if companies is None else list(companies)}
    rows = connection.execute(load_query("companies_of"), parameters).fetchall()
    return {None: platform, **{row[0]: _filled_in(platform, *row) for row in rows}}


def calendar_in(calendars: Calendars, company_id: str | None) -> Calendar:
    """Return the calendar of a company out of ``calendars_of``."""
    found = calendars.get(company_id)
    return found or replace(calendars[None], company_id=company_id, name=company_id or ALL_COMPANIES)


def titled(calendar: Calendar) -> str:
    """Return name and id of a company for people who have to tell companies apart, once where the two are one."""
    shown, company = calendar.name, calendar.company_id
    return shown if company in (None, shown) else f"{shown} ({company})"


def platform_calendar(connection: Connection, settings: Settings) -> Calendar:
    """Return the calendar of figures over all companies, as the settings say.

    Raises ``AnalyticsError`` if the database doesn't know ANALYTICS_TIME_ZONE.
    """
    asked = settings.time_zone
    if asked not in _platform_zones:
        found = known_time_zones(connection).get(asked.lower())
        if found is None:
            raise AnalyticsError(
                f"ANALYTICS_TIME_ZONE: the database knows no time zone {asked!r}; give one such as Europe/Berlin."
            )
        _platform_zones[asked] = found
    return Calendar(None, ALL_COMPANIES, _platform_zones[asked], settings.base_currency, settings.locale)


def _filled_in(
    platform: Calendar,
    company_id: str,
    name: str | None,
    time_zone: str | None,
    currency: str | None,
    locale: str | None,
    is_test: bool,  # noqa: FBT001  # as the row has it
) -> Calendar:
    return Calendar(
        company_id,
        name or company_id,
        time_zone or platform.time_zone,
        currency or platform.currency,
        locale or platform.locale,
        is_test,
    )
