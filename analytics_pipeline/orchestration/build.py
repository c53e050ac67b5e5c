"""Assembles everything Dagster is given."""

import warnings

from dagster import BetaWarning, Definitions

from analytics_pipeline.orchestration.assets.aggregates import build_aggregate_assets
from analytics_pipeline.orchestration.assets.custom_report import build_custom_report_asset, build_custom_report_job
from analytics_pipeline.orchestration.assets.erp_sources import build_erp_assets, build_erp_job
from analytics_pipeline.orchestration.assets.fx import build_fx_asset, build_fx_job, build_fx_schedule
from analytics_pipeline.orchestration.assets.histories import build_history_assets
from analytics_pipeline.orchestration.assets.inbox import build_ingestion_job
from analytics_pipeline.orchestration.assets.metrics import build_metric_assets
from analytics_pipeline.orchestration.assets.reports import build_report_assets
from analytics_pipeline.orchestration.assets.storage import build_storage_asset
from analytics_pipeline.orchestration.checks.alerts import build_alert_checks
from analytics_pipeline.orchestration.checks.failed_partitions import build_partition_checks
from analytics_pipeline.orchestration.checks.health import build_health_checks
from analytics_pipeline.orchestration.checks.recorded_partitions import build_recorded_check
from analytics_pipeline.orchestration.checks.schedule import build_check_jobs, build_check_schedules
from analytics_pipeline.orchestration.checks.window import build_window_checks
from analytics_pipeline.orchestration.executor import owning_executor
from analytics_pipeline.orchestration.jobs import CLOSING_JOBS, build_jobs
from analytics_pipeline.orchestration.report_mail import build_mail_job
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.schedules import build_schedules
from analytics_pipeline.orchestration.sensors.check_states import build_check_states_sensor
from analytics_pipeline.orchestration.sensors.dead_runs import build_dead_runs_sensor
from analytics_pipeline.orchestration.sensors.erp_sources import build_erp_sensor
from analytics_pipeline.orchestration.sensors.failures import build_failure_sensors
from analytics_pipeline.orchestration.sensors.gaps import build_gaps_sensor
from analytics_pipeline.orchestration.sensors.inbox import build_inbox_sensor
from analytics_pipeline.orchestration.sensors.late import build_late_sensor
from analytics_pipeline.orchestration.sensors.mail import build_mail_sensor
from analytics_pipeline.orchestration.sensors.report_requests import build_report_requests_sensor
from analytics_pipeline.settings import Settings


def build_definitions(settings: Settings) -> Definitions:
    """Return the code location for the settings; opens no connection."""
    with warnings.catch_warnings():
        # Backfill policies are marked beta; the pinned Dagster release is what we rely on.
        warnings.simplefilter("ignore", BetaWarning)
        jobs = build_jobs()
        closing_jobs = [job for job in jobs if job.name in CLOSING_JOBS]
        definitions = Definitions(
            assets=[
                build_storage_asset(),
                *build_erp_assets(settings),
                *build_aggregate_assets(settings),
                *build_history_assets(settings),
                *build_metric_assets(settings),
                build_fx_asset(),
                *build_report_assets(settings),
                build_custom_report_asset(),
            ],
            asset_checks=[
                *build_window_checks(),
                *build_health_checks(),
                *build_partition_checks(settings),
                build_recorded_check(settings),
                *build_alert_checks(),
            ],
            jobs=[
                *jobs,
                *build_check_jobs(),
                build_ingestion_job(),
                build_erp_job(settings),
                build_fx_job(),
                build_mail_job(),
                build_custom_report_job(),
            ],
            schedules=[*build_schedules(settings), *build_check_schedules(), build_fx_schedule()],
            sensors=[
                build_gaps_sensor(settings, closing_jobs),
                build_late_sensor(settings, closing_jobs),
                build_check_states_sensor(settings),
                build_inbox_sensor(),
                build_erp_sensor(),
                build_mail_sensor(),
                build_report_requests_sensor(),
                *build_failure_sensors(),
                build_dead_runs_sensor(settings),
            ],
            resources={"timescale": Timescale()},
            executor=owning_executor,
        )
        # Resolved here and kept by Dagster: resolving sensors warns too, of a parameter nobody has set.
        definitions.get_repository_def()
        return definitions
