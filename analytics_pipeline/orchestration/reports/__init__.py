"""The reports as Dagster's assets: of each month, and as somebody asks for them."""

from dagster import Definitions

from analytics_pipeline.orchestration.reports.custom_reports import (
    build_custom_asset,
    build_custom_job,
    build_requests_sensor,
)
from analytics_pipeline.orchestration.reports.monthly_reports import build_monthly_assets
from analytics_pipeline.settings import Settings


def defs(settings: Settings) -> Definitions:
    """Return the assets of reports, with the job and the sensor of those that somebody asks for."""
    return Definitions(
        assets=[*build_monthly_assets(settings), build_custom_asset(settings)],
        jobs=[build_custom_job(settings)],
        sensors=[build_requests_sensor()],
    )
