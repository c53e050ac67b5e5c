"""The executor of every job: Dagster's in-process one, which says who executes the run and that it lives.

In ``close`` the run has given signs of life since before it was made; in the daemon's workers they begin here.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, cast

from dagster import DagsterEvent, InitExecutorContext, executor
from dagster._core.definitions.executor_definition import IN_PROC_CONFIG, _core_in_process_executor_creation
from dagster._core.executor.in_process import InProcessExecutor

from analytics_pipeline.orchestration.dagster_costs import lighten_storage
from analytics_pipeline.orchestration.runs.run_owner import own_run
from analytics_pipeline.orchestration.runs.sign_of_life import sign_of_life

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
            steps = cast("Generator[DagsterEvent]", super().execute(plan_context, execution_plan))
            try:
                with closing(steps):
                    for event in steps:
                        # Raised, it ends the run as failed once more: behind whatever the last step has written.
                        sign.require()
                        yield event
                sign.renew()
            finally:
                sign.settle()


@executor(name="in_process", config_schema=IN_PROC_CONFIG)
def owning_executor(context: InitExecutorContext) -> InProcessExecutor:
    """Execute all steps in one process that says who it is, and gives signs of life.

    Steps are single statements to the database: processes of their own would only cost their start (four steps: 3 s
    in one process, 11 to 14 s in four).
    """
    dagsters_own = _core_in_process_executor_creation(context.executor_config)
    return _OwningExecutor(dagsters_own.retries, dagsters_own.step_dependency_config)
