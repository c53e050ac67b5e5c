"""The reports as Dagster's assets: of each month, as somebody asks for them, and signing a month off."""

from dagster import Definitions

from analytics_pipeline.orchestration.reports.custom_reports import (
    build_custom_asset,
    build_custom_job,
    build_requests_sensor,
)
from analytics_pipeline.orchestration.reports.monthly_reports import build_monthly_assets
from analytics_pipeline.orchestration.reports.signed_months import build_signing_asset, build_signing_job
from analytics_pipeline.settings import Settings


def defs(settings: Settings) -> Definitions:
    """Return the assets of reports and of signed months, with the jobs and the sensor of what somebody asks for."""
    return Definitions(
        assets=[*build_monthly_assets(settings), build_custom_asset(settings), build_signing_asset(settings)],
        jobs=[build_custom_job(settings), build_signing_job(settings)],
        sensors=[build_requests_sensor()],
    )
