"""The schema: the hypertable as its migration made it, and each aggregate as it is declared."""

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.health.check_result import CheckResult, Violation
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.declaration import declaration_drift, rebuild_command
from analytics_pipeline.timescale.definition import compare_definition
from analytics_pipeline.timescale.hypertable import hypertable_drift

_LIMITS = {"differences allowed": 0}


def hypertable_layout(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge the hypertable of raw events; the sentences name their remedies."""
    drift = hypertable_drift(connection)
    return CheckResult.judge(
        "hypertable_layout",
        EVENTS,
        [Violation(text) for text in drift],
        good=f"{EVENTS} is laid out as its migration made it.",
        metadata={"differences": len(drift), "what differs": drift},
        limits=_LIMITS,
    )


def matches_declaration(connection: Connection, aggregate: ContinuousAggregate) -> CheckResult:
    """Judge the relation of an aggregate: bucket, source, columns, and the query it is filled by."""
    drift = declaration_drift(connection, aggregate)
    problems = [Violation(text) for text in drift]
    metadata: dict[str, object] = {"differences": len(drift), "what differs": drift}
    if not drift:
        definition = compare_definition(connection, aggregate)
        metadata |= {"stored definition": definition.stored, "declared definition": definition.declared}
        if not definition.agrees:
            problems.append(
                Violation(
                    "its query is not the declared one (both are in the metadata)",
                    rebuild_command(aggregate),
                )
            )
    return CheckResult.judge(
        "matches_declaration",
        aggregate.name,
        problems,
        good=f"{aggregate.name} is as declared.",
        metadata=metadata,
        limits=_LIMITS,
    )
