"""What rates there are, and which of them serve a day."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from analytics_pipeline.currencies import is_currency, require_currency
from analytics_pipeline.errors import UnknownNameError
from analytics_pipeline.fx.exchange_rates import DAYS_VALID
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row


@dataclass(frozen=True, slots=True)
class ServingRate:
    """One unit of ``base`` costs ``rate`` of ``quote``: the last rate on or before a day, ``age_days`` old then."""

    rate_date: date
    base: str
    quote: str
    rate: Decimal
    age_days: int
    source: str


def serving_rates(connection: Connection, day: date, currency: str | None = None) -> list[ServingRate]:
    """Return the rate of every pair that serves the day (UTC), or of the pairs with one currency, by name."""
    parameters = {"day": day, "currency": currency, "days_valid": DAYS_VALID}
    rows = connection.execute(load_query("fx_serving"), parameters).fetchall()
    return [ServingRate(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class StoredRates:
    """All rates there are: how many, the newest day (UTC; None without any), and the currencies of their pairs."""

    rows: int
    newest: date | None
    currencies: list[str]


def require_known_currency(connection: Connection, code: str) -> str:
    """Return what figures can be reported in: a currency, or a crypto asset of which there are rates.

    Raises ``UnknownNameError`` for any other, which nobody knows.
    """
    require_currency(code)
    if not is_currency(code) and code not in stored_rates(connection).currencies:
        raise UnknownNameError(
            f"{code!r} is unknown: it is no currency (ISO 4217), and there is no rate of such a crypto asset. Check "
            "its spelling, or load rates of it: 'analytics-pipeline fx load FILE'."
        )
    return code


def stored_rates(connection: Connection) -> StoredRates:
    """Count all rates."""
    return StoredRates(*fetch_row(connection, load_query("fx_stored")))
