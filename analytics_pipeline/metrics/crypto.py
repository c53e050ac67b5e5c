"""Crypto volumes: thin typed calls of ``sql/functions/crypto.sql``."""

from dataclasses import dataclass
from decimal import Decimal

from analytics_pipeline.timescale.connection import Connection
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
    """Return the volumes of any window, one entry an asset in the order of tickers; ``None`` means all companies."""
    rows = connection.execute(
        "SELECT ticker, received, sent, swapped, received_value, sent_value, swapped_value, transactions "
        "FROM analytics_crypto_assets(%s, %s, %s, %s)",
        [company_id, window.start, window.end, currency],
    ).fetchall()
    return [AssetVolume(*row) for row in rows]
