"""Evaluates a sensor tick by tick and runs what it asks for, as the daemon does."""

from dagster import DagsterInstance, Definitions, ExecuteInProcessResult, RunRequest, RunsFilter, build_sensor_context

_RUN_KEY = "dagster/run_key"


class Ticks:
    """One sensor on one instance, with its cursor."""

    def __init__(self, definitions: Definitions, instance: DagsterInstance, name: str) -> None:
        self._definitions = definitions
        self._instance = instance
        self._sensor = definitions.get_repository_def().get_sensor_def(name)
        self.cursor: str | None = None
        self.skipped: str | None = None

    def tick(self) -> list[RunRequest]:
        """Return the requests of one tick that Dagster would launch: it never launches a run key twice."""
        context = build_sensor_context(self._instance, self.cursor, resources=self._definitions.resources)
        evaluated = self._sensor.evaluate_tick(context)
        self.cursor = evaluated.cursor
        self.skipped = evaluated.skip_message
        for event in evaluated.asset_events:
            self._instance.report_runless_asset_event(event)
        return [request for request in evaluated.run_requests or [] if not self._is_known(request)]

    def launch(self, request: RunRequest) -> ExecuteInProcessResult:
        """Run what was asked for, in this process."""
        assert request.run_key is not None
        job_name = request.job_name or self._sensor.job_name
        assert job_name is not None
        job = self._definitions.resolve_job_def(job_name)
        if request.asset_selection is not None:
            checks = None if request.asset_check_keys is None else set(request.asset_check_keys)
            job = job.get_subset(asset_selection=set(request.asset_selection), asset_check_selection=checks)
        return job.execute_in_process(
            instance=self._instance,
            run_config=request.run_config,
            tags={**request.tags, _RUN_KEY: request.run_key},
            raise_on_error=False,
        )

    def _is_known(self, request: RunRequest) -> bool:
        assert request.run_key is not None
        return bool(self._instance.get_runs(RunsFilter(tags={_RUN_KEY: request.run_key}), limit=1))
