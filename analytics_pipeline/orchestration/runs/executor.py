"""The executor of every job: Dagster's in-process one, which says who executes the run and that it lives.

In ``close`` the run has given signs of life since before it was made; in the daemon's workers they begin here.
"""

import os
import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, cast

from dagster import DagsterEvent, InitExecutorContext, executor
from dagster._core.definitions.executor_definition import IN_PROC_CONFIG, _core_in_process_executor_creation
from dagster._core.events import EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.executor.in_process import InProcessExecutor

from analytics_pipeline.orchestration.dagster_costs import lighten_storage
from analytics_pipeline.orchestration.runs.run_owner import own_run
from analytics_pipeline.orchestration.runs.sign_of_life import sign_of_life
from analytics_pipeline.orchestration.runs.steps_at_once import execute_steps

if TYPE_CHECKING:
    from collections.abc import Generator

    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan


class _OwningExecutor(InProcessExecutor):
    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> Iterator[DagsterEvent]:
        instance, run = plan_context.instance, plan_context.dagster_run
        lighten_storage(instance)
        with sign_of_life(instance, run.run_id) as sign:
            own_run(instance, run)
            steps = cast("Generator[DagsterEvent]", self._execute_steps(plan_context, execution_plan))
            try:
                with closing(steps):
                    for event in steps:
                        # Raised, it ends the run as failed once more: behind whatever the last step has written.
                        sign.require()
                        yield event
                sign.renew()
            finally:
                sign.settle()

    def _execute_steps(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> Iterator[DagsterEvent]:
        """Do as ``InProcessExecutor`` does, but for how its steps follow each other."""
        steps = EngineEventData.in_process(os.getpid(), execution_plan.step_keys_to_execute)
        yield DagsterEvent.engine_event(plan_context, f"Executing steps in process (pid: {os.getpid()})", steps)
        started = time.monotonic()
        yield from ExecuteRunWithPlanIterable(
            execution_plan=execution_plan,
            iterator=execute_steps,
            execution_context_manager=PlanExecutionContextManager(
                job=plan_context.job,
                execution_plan=execution_plan,
                run_config=plan_context.run_config,
                dagster_run=plan_context.dagster_run,
                instance=plan_context.instance,
                retry_mode=plan_context.retry_mode,
                raise_on_error=plan_context.raise_on_error,
                output_capture=plan_context.output_capture,
                step_dependency_config=self.step_dependency_config,
            ),
        )
        took = f"{time.monotonic() - started:.2f} s"
        yield DagsterEvent.engine_event(
            plan_context, f"Finished steps in process (pid: {os.getpid()}) in {took}", steps
        )


@executor(name="in_process", config_schema=IN_PROC_CONFIG)
def owning_executor(context: InitExecutorContext) -> InProcessExecutor:
    """Execute all steps in one process that says who it is, and gives signs of life.

    Steps are single statements to the database: processes of their own would only cost their start (four steps: 3 s
    in one process, 11 to 14 s in four).
    """
    dagsters_own = _core_in_process_executor_creation(context.executor_config)
    return _OwningExecutor(dagsters_own.retries, dagsters_own.step_dependency_config)
