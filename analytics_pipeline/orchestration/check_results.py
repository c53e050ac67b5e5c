"""Between the checks of the domain and Dagster: which window a check judges, and how its finding is shown."""

from typing import TYPE_CHECKING

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetCheckSeverity,
    MetadataValue,
    TableRecord,
)
from dagster._core.definitions.metadata import normalize_metadata

from analytics_pipeline.health.check_result import CheckResult, Metadata, Severity
from analytics_pipeline.orchestration.dagster_costs import LeanCheckResult
from analytics_pipeline.orchestration.keys import asset_key
from analytics_pipeline.settings import Settings
from analytics_pipeline.windows import Window

if TYPE_CHECKING:
    from dagster._core.definitions.metadata import RawMetadataValue

_SEVERITIES = {Severity.ERROR: AssetCheckSeverity.ERROR, Severity.WARNING: AssetCheckSeverity.WARN}

_Record = dict[str, str | int | float | bool | None]


def window_judged(context: AssetCheckExecutionContext) -> Window | None:
    """Return the window of a run over partitions, None for a run of checks alone."""
    run = context.op_execution_context
    if not (run.has_partition_key or run.has_partition_key_range):
        return None
    span = run.partition_time_window
    return Window(span.start, span.end)


def check_result(finding: CheckResult, settings: Settings) -> AssetCheckResult:
    """Return the finding as the result of its asset check; the remedy is part of the text."""
    return LeanCheckResult(
        passed=finding.passed,
        asset_key=asset_key(finding.subject, settings),
        check_name=finding.check,
        severity=_SEVERITIES[finding.severity],
        description=finding.text,
        metadata=_metadata(finding),
    )


def check_evaluation(finding: CheckResult, settings: Settings) -> AssetCheckEvaluation:
    """Return the finding as an evaluation of its asset check that no run has made."""
    return AssetCheckEvaluation(
        asset_key=asset_key(finding.subject, settings),
        check_name=finding.check,
        passed=finding.passed,
        severity=_SEVERITIES[finding.severity],
        description=finding.text,
        metadata=normalize_metadata(_metadata(finding)),
    )


def _metadata(finding: CheckResult) -> "dict[str, RawMetadataValue]":
    """Return what was measured as it is, and its limits as text: the UI plots every number, a constant one for ever."""
    measured = {name: _metadata_value(value) for name, value in _shown(finding.metadata).items()}
    return measured | {name: _text(value) for name, value in finding.limits.items()}


def _shown(metadata: Metadata) -> Metadata:
    return {name: value for name, value in metadata.items() if value not in ([], {})}


def _metadata_value(value: object) -> "RawMetadataValue":
    if isinstance(value, bool):
        return MetadataValue.bool(value)
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return MetadataValue.table([TableRecord(_record(row)) for row in value])
    if isinstance(value, int | float | str | list | dict):
        return value
    return "none" if value is None else str(value)


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _record(row: dict[str, object]) -> _Record:
    return {name: value if isinstance(value, str | int | float | None) else str(value) for name, value in row.items()}
