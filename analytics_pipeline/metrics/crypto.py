"""Crypto volumes: thin typed calls of ``sql/functions/crypto.sql``."""

from dataclasses import dataclass
from decimal import Decimal

from analytics_pipeline.companies.time_zones import UTC
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import HorizonError
from analytics_pipeline.windows import Window


@dataclass(frozen=True, slots=True)
class AssetVolume:
    """What was received, sent and swapped of one asset in a period, exact quantities in its ticker.

    The values are in the reporting currency at the rates of the days, unrounded, None while one of the days lacks a
    rate. ``transactions`` counts the three together.
    """

    ticker: str
    received: Decimal
    sent: Decimal
    swapped: Decimal
    received_value: Decimal | None
    sent_value: Decimal | None
    swapped_value: Decimal | None
    transactions: int


def asset_volumes(connection: Connection, company_id: str | None, window: Window, currency: str) -> list[AssetVolume]:
    """Return the volumes of any window, one entry an asset in the order of tickers; ``None`` means all companies.

    The days of another zone than UTC are read from the events: raises ``HorizonError`` where these have expired.
    """
    if window.time_zone != UTC:
        query = "SELECT analytics_events_from(), analytics_is_brought_back(%s, %s)"
        horizon, is_back = fetch_row(connection, query, [window.start, window.end])
        if horizon is not None and window.start < horizon and not is_back:
            raise HorizonError(
                f"Crypto volumes of days of {window.time_zone} are read from the events, and those before "
                f"{horizon:%Y-%m-%d} (the retention horizon) have expired. Ask for days of UTC."
            )
    rows = connection.execute(
        "SELECT ticker, received, sent, swapped, received_value, sent_value, swapped_value, transactions "
        "FROM analytics_crypto_assets(%s, %s, %s, %s, %s)",
        [company_id, window.start, window.end, currency, window.time_zone],
    ).fetchall()
    return [AssetVolume(*row) for row in rows]
