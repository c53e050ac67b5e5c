"""Assembles everything Dagster is given."""

import warnings

from dagster import BetaWarning, Definitions, in_process_executor

from analytics_pipeline.orchestration.assets.aggregates import build_aggregate_assets
from analytics_pipeline.orchestration.assets.reports import build_report_asset
from analytics_pipeline.orchestration.assets.storage import build_storage_asset
from analytics_pipeline.orchestration.assets.users import build_users_asset
from analytics_pipeline.orchestration.checks.aggregates import build_aggregate_checks
from analytics_pipeline.orchestration.checks.storage import build_storage_checks
from analytics_pipeline.orchestration.jobs import build_jobs
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import Settings


def build_definitions(settings: Settings) -> Definitions:
    """Return the code location for the settings; opens no connection."""
    with warnings.catch_warnings():
        # Backfill policies are marked beta; the pinned Dagster release is what we rely on.
        warnings.simplefilter("ignore", BetaWarning)
        return Definitions(
            assets=[
                build_storage_asset(),
                *build_aggregate_assets(settings),
                build_users_asset(settings),
                build_report_asset(settings),
            ],
            asset_checks=[*build_storage_checks(), *build_aggregate_checks()],
            jobs=build_jobs(),
            resources={"timescale": Timescale()},
            # Steps are single statements to the database: processes of their own would only cost
            # their start (four steps: 3 s in one process, 11 to 14 s in four).
            executor=in_process_executor,
        )
