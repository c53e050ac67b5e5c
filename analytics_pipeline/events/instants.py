"""Instants as exporters write them."""

import re
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from analytics_pipeline.errors import UnknownNameError
from analytics_pipeline.intake.rejection import RejectedEvent, shown

# What was adjusted in an instant, as summaries count it.
CUT = "timestamps cut to microseconds"
LEAP_SECOND = "leap seconds read as the next second"

_MICROSECOND_DIGITS = 6
_LAST_HOUR, _LEAP_SECOND = 24, 60

# Most texts, which every Python from 3.11 on reads alike.
_is_plain = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
    r"(?:Z|[+-][0-9]{2}:[0-5][0-9])"
).fullmatch
# PostgreSQL: +00; Ruby: " +0000"; BigQuery: " UTC"; Go: " +0100 CET"; Java: +01:00[Europe/Paris]. What follows an
# offset names the same zone again.
_parts = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?)?"
    r"(?: ?(?:(?P<utc>[Zz]|UTC|GMT)|(?P<sign>[+-])(?P<hours>[0-9]{2})(?::?(?P<minutes>[0-5][0-9])"
    r"(?::?(?P<seconds>[0-5][0-9]))?)?(?: [A-Z]{3,5})?)(?:\[[A-Za-z0-9_+/-]+\])?)?"
).fullmatch


def to_instant(raw: object, assume_zone: tzinfo | None = None, adjusted: Counter[str] | None = None) -> datetime:
    """Return the instant, in UTC, that a text or a datetime names.

    Digits below a microsecond are cut, 24:00:00 is the start of the next day, and 23:59:60 (UTC) is the next second;
    ``adjusted`` counts the first and the last. Without a zone it is in ``assume_zone``. Raises ``RejectedEvent``,
    without that zone too, and for a local time that does not exist or exists twice in it.
    """
    if isinstance(raw, str):
        if _is_plain(raw):
            try:
                instant = datetime.fromisoformat(raw)
                return instant if instant.tzinfo is UTC else instant.astimezone(UTC)
            except (ValueError, OverflowError) as error:
                raise _no_instant(raw, str(error)) from error
        return _parsed(raw, assume_zone, adjusted)
    if isinstance(raw, datetime):
        try:
            return _in_utc(raw, raw.isoformat(), assume_zone) if raw.tzinfo is None else raw.astimezone(UTC)
        except OverflowError as error:
            raise _no_instant(raw.isoformat(), str(error)) from error
    if raw is None:
        raise RejectedEvent("timestamp is missing", "timestamp is missing: say when the event happened.")
    raise _bad_form(raw)


def zone_named(name: str) -> tzinfo:
    """Return the time zone of an IANA name like Europe/Berlin, or of UTC. Raises ``AnalyticsError`` for others."""
    if name.upper() in ("UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownNameError(f"{shown(name)} is not a time zone: name one like Europe/Berlin or UTC.") from error


def without_zone(text: str) -> RejectedEvent:
    """Return the rejection of an instant that names no zone."""
    return RejectedEvent(
        "timestamp without zone",
        f"timestamp {shown(text)} has no time zone: add Z or an offset like +02:00; of a file, "
        "ingest --assume-zone ZONE names the zone of all its timestamps.",
    )


def _parsed(text: str, assume_zone: tzinfo | None, adjusted: Counter[str] | None) -> datetime:
    parts = _parts(text)
    if parts is None:
        raise _bad_form(text)
    zone = _zone(parts) if parts["utc"] or parts["sign"] else None
    if parts["hour"] is None:
        # A day alone is no instant, in whatever zone.
        raise _bad_form(text) if zone or assume_zone else without_zone(text)
    fraction = parts["fraction"] or ""
    hour, minute, second = int(parts["hour"]), int(parts["minute"]), int(parts["second"] or 0)
    is_midnight = hour == _LAST_HOUR and not minute and not second and not fraction.strip("0")
    is_leap = second == _LEAP_SECOND
    try:
        moment = datetime.combine(
            date.fromisoformat(parts["day"]),
            time(
                0 if is_midnight else hour,
                minute,
                _LEAP_SECOND - 1 if is_leap else second,
                int(fraction[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0")),
            ),
        )
        moment += timedelta(days=is_midnight, seconds=is_leap)
        instant = _in_utc(moment, text, assume_zone) if zone is None else moment.replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _no_instant(text, str(error)) from error
    if is_leap and (instant.hour, instant.minute, instant.second) != (0, 0, 0):
        raise _no_instant(text, "a second 60 is the last one of a day in UTC")
    if adjusted is not None:
        adjusted[CUT] += bool(fraction[_MICROSECOND_DIGITS:].strip("0"))
        adjusted[LEAP_SECOND] += is_leap
    return instant


def _zone(parts: re.Match[str]) -> tzinfo:
    if parts["utc"]:
        return UTC
    offset = timedelta(
        hours=int(parts["hours"]), minutes=int(parts["minutes"] or 0), seconds=int(parts["seconds"] or 0)
    )
    try:
        return timezone(-offset if parts["sign"] == "-" else offset)
    except ValueError as error:
        raise _no_instant(parts.string, str(error)) from error


def _in_utc(local: datetime, text: str, zone: tzinfo | None) -> datetime:
    """Return the one instant of a local time in a zone."""
    if zone is None:
        raise without_zone(text)
    instant = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    other = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if instant != other:
        how_often = "twice" if instant < other else "never"
        raise RejectedEvent(
            "timestamp ambiguous in its zone",
            f"timestamp {shown(text)} happened {how_often} in {zone}, whose clocks were changed: add an offset.",
        )
    return instant


def _no_instant(text: str, problem: str) -> RejectedEvent:
    return RejectedEvent("timestamp is not a time", f"timestamp {shown(text)} is no point in time: {problem}.")


def _bad_form(raw: object) -> RejectedEvent:
    return RejectedEvent(
        "timestamp is not a time",
        f"timestamp {shown(raw)} is not like 2025-01-31T23:59:59Z (ISO 8601 with a zone).",
    )
