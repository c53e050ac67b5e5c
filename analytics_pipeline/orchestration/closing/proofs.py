"""``window_reconciles``: proves exactly the partitions that a run has just closed; what is built on them waits for it.

An asset has one such check, and the jobs that close run no other: Dagster keeps a row for each check and partition of a
run. What speaks of an asset as a whole is judged apart (``orchestration.health``): closing an old month again turns
nothing green.
"""

from dataclasses import replace

from dagster import AssetCheckExecutionContext, AssetCheckResult, AssetChecksDefinition

from analytics_pipeline.alerts.alert_check import check_alerts
from analytics_pipeline.health.check_result import CheckResult
from analytics_pipeline.health.checks import HealthCheck, run_check, window_checks
from analytics_pipeline.health.results import record_result
from analytics_pipeline.metrics.tables import METRIC_ASSETS
from analytics_pipeline.orchestration.check_results import check_evaluation, check_result, window_judged
from analytics_pipeline.orchestration.closing.attempts import end_attempt
from analytics_pipeline.orchestration.closing.jobs import WINDOW_CHECK
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs.tags import OTHERS
from analytics_pipeline.orchestration.shared import pipeline_check
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window


def build_window_checks(settings: Settings) -> list[AssetChecksDefinition]:
    """Return ``window_reconciles`` of every asset that has it."""
    return [_build_check(check, settings) for check in window_checks()]


def _build_check(check: HealthCheck, settings: Settings) -> AssetChecksDefinition:
    @pipeline_check(
        check.subject,
        WINDOW_CHECK,
        f"What {check.name} proves of the newest closed partitions, for exactly those of the run. What changes "
        "while they are closed is closed again, or left to late_events, and said.",
        settings,
        blocking=True,
        statements=OTHERS,
    )
    def _window_check(context: AssetCheckExecutionContext, timescale: Timescale) -> AssetCheckResult:
        window = window_judged(context)
        with timescale.session() as connection:
            if window is None:
                finding = run_check(check, connection, timescale.settings)
            else:
                finding = _prove(check, connection, timescale.settings, window)
                end_attempt(connection, context.op_execution_context.run, finding, window)
            if finding.passed and check.subject in METRIC_ASSETS:
                # Reports that are made next show them, and nobody has to wait for a sensor.
                alerts = check_alerts(connection, timescale.settings, *METRIC_ASSETS[check.subject])
                context.instance.report_runless_asset_event(check_evaluation(alerts, timescale.settings))
        return check_result(replace(finding, check=WINDOW_CHECK), timescale.settings)

    return _window_check


def _prove(check: HealthCheck, connection: Connection, settings: Settings, window: Window) -> CheckResult:
    """Prove a window that a run has closed, whatever it is made of, and keep what was found for the reports."""
    finding = run_check(check, connection, settings, window)
    record_result(connection, finding, window)
    return finding
