"""Months that can be signed off: noted as closed, as Dagster's runs leave them."""

from analytics_pipeline.metrics.partitions import begin_attempt, record_closed
from analytics_pipeline.metrics.tables import METRIC_ASSETS
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window

_MONTHS = [asset for asset, (_, granularity) in METRIC_ASSETS.items() if granularity is Granularity.MONTH]


def note_closed(connection: Connection, window: Window) -> None:
    """Note the hours and the months of a window as closed, of the assets that a sign-off asks for."""
    for asset in ("analytics_event_volume_hourly", *_MONTHS, "monthly_report", "company_reports"):
        granularity = Granularity.HOUR if asset.endswith("hourly") else Granularity.MONTH
        begin_attempt(connection, asset, granularity, window, "a run")
        record_closed(connection, asset, window, "a run")
