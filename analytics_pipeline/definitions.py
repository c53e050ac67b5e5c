"""The code location: what the features of ``orchestration`` bring, merged."""

import warnings

from dagster import BetaWarning, Definitions, definitions

from analytics_pipeline.orchestration import (
    aggregates,
    closing,
    failures,
    fx,
    health,
    ingestion,
    messages,
    metrics,
    reports,
    storage,
)
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs.executor import owning_executor
from analytics_pipeline.settings import Settings, get_settings

_FEATURES = (storage, ingestion, aggregates, metrics, fx, closing, health, reports, messages, failures)


def build_definitions(settings: Settings) -> Definitions:
    """Return the code location for the settings; opens no connection."""
    with warnings.catch_warnings():
        # Backfill policies are marked beta; the pinned Dagster release is what we rely on.
        warnings.simplefilter("ignore", BetaWarning)
        merged = Definitions.merge(
            Definitions(resources={"timescale": Timescale()}, executor=owning_executor),
            *(feature.defs(settings) for feature in _FEATURES),
        )
        # Resolved here and kept by Dagster: resolving sensors warns too, of a parameter nobody has set.
        merged.get_repository_def()
        return merged


@definitions
def defs() -> Definitions:
    """Return the code location for the settings of this process."""
    return build_definitions(get_settings())
