"""Marks failed the runs whose process has died: they would hold places of the run queue, and what waits for them."""

from dagster import DefaultSensorStatus, SensorDefinition, SensorEvaluationContext, SkipReason, sensor

from analytics_pipeline.orchestration.dead_runs import fail_dead_runs
from analytics_pipeline.settings import Settings

_NAME = "dead_runs"
# With the silence that is waited for, and the second look, a minute in all.
_INTERVAL_SECONDS = 15
_MAX_SHOWN = 5


def build_dead_runs_sensor(settings: Settings) -> SensorDefinition:
    """Return the sensor ``dead_runs``, switched on."""

    @sensor(
        name=_NAME,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            "Marks failed, within a minute, every run whose process has ended or gives no sign of life, whether a "
            "command executed it or a worker of the daemon. Its partitions are closed by the other sensors."
        ),
    )
    def _dead_runs(context: SensorEvaluationContext) -> SkipReason:
        found = fail_dead_runs(context.instance, settings)
        for sentence in found:
            context.log.warning(f"Marked failed: {sentence}.")
        if not found:
            return SkipReason("The process of every unfinished run lives.")
        more = f"; and {len(found) - _MAX_SHOWN} more" if len(found) > _MAX_SHOWN else ""
        return SkipReason(f"Marked failed: {'; '.join(found[:_MAX_SHOWN])}{more}.")

    return _dead_runs
