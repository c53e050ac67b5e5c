"""A rate of exchange, and everything that must hold for one before it is stored."""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from analytics_pipeline.currencies import ASSET_FORM, is_asset
from analytics_pipeline.intake.exact_numbers import check_rate, to_decimal
from analytics_pipeline.intake.rejection import RejectedEvent, shown
from analytics_pipeline.timescale.aggregates import Column
from analytics_pipeline.timescale.clock import machine_now

FX_RATES: Final = "analytics_fx_rates"
FX_COLUMNS: Mapping[str, Column] = {
    "rate_date": Column("date", "The day (UTC) the rate is of; it serves that day and the 7 after it."),
    "base": Column("text", "The currency or crypto asset of which one unit is priced."),
    "quote": Column("text", "The currency the price is in."),
    "rate": Column("numeric", "One unit of base costs so many units of quote, exactly as published."),
    "source": Column("text", "Where the rate was read: ecb, or a file or URI without credentials."),
    "loaded_at": Column("timestamptz", "When it was stored or last changed, UTC."),
}

# As in sql/functions/fx.sql: the last rate on or before a date, at most so many days old.
DAYS_VALID: Final = 7
# A rate may be published on the evening before its day, by a clock east of ours.
_DAYS_AHEAD: Final = 1

_is_date = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch


# The texts of a rate: rate_date, base, quote, rate.
RateFields = tuple[str, str, str, str]


class Rate(NamedTuple):
    """One unit of ``base`` costs ``rate`` units of ``quote`` on ``rate_date`` (UTC), exactly."""

    rate_date: date
    base: str
    quote: str
    rate: Decimal


def parse_rate(rate_date: str, base: str, quote: str, rate: str, *, today: date | None = None) -> Rate:
    """Return the rate that four texts describe.

    ``today`` (UTC) bounds the future: the database's day; default: this machine's. Raises ``RejectedEvent`` naming
    field, value and remedy.
    """
    day = parse_date(rate_date)
    if day > (today or machine_now().date()) + timedelta(days=_DAYS_AHEAD):
        raise RejectedEvent(
            "rate_date in the future", f"rate_date {rate_date} is in the future: send rates once they are published."
        )
    _check_currency(base, "base")
    _check_currency(quote, "quote")
    if base == quote:
        raise RejectedEvent("base and quote are one", f"base and quote are both {base}: name two currencies.")
    value = check_rate(to_decimal(rate, "rate"), "rate")
    if value <= 0:
        raise RejectedEvent("rate is not positive", f"rate {shown(rate)} is not above 0: check the price of {base}.")
    return Rate(day, base, quote, value)


@lru_cache(maxsize=1024)
def parse_date(text: str) -> date:
    """Return the date that ISO text like ``2025-01-31`` names; raises ``RejectedEvent`` for anything else."""
    if _is_date(text):
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise RejectedEvent("rate_date is not a date", f"rate_date {shown(text)} is no day: {error}.") from error
    raise RejectedEvent("rate_date is not a date", f"rate_date {shown(text)} is not like 2025-01-31.")


def _check_currency(currency: str, field: str) -> None:
    if not is_asset(currency):
        raise RejectedEvent(f"{field} of the wrong form", f"{field} {shown(currency)} is {ASSET_FORM}.")
