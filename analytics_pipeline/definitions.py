"""The code location: what the features of ``orchestration`` bring, merged."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from dagster import BetaWarning, Definitions, definitions

from analytics_pipeline.orchestration import (
    aggregates,
    closing,
    event_archive,
    failures,
    fx,
    health,
    ingestion,
    messages,
    metrics,
    monitoring,
    operations,
    pruning,
    reports,
    storage,
)
from analytics_pipeline.orchestration.resources import TimescaleResource
from analytics_pipeline.orchestration.runs.executor import owning_executor
from analytics_pipeline.settings import Settings, get_settings

_FEATURES = (
    storage,
    ingestion,
    aggregates,
    metrics,
    fx,
    closing,
    health,
    reports,
    messages,
    failures,
    operations,
    event_archive,
    monitoring,
    pruning,
)


def build_definitions(settings: Settings) -> Definitions:
    """Return the code location for the settings; opens no connection. Its steps work by the process's settings."""
    with _without_beta_warnings():
        alone = Definitions(resources={"timescale": TimescaleResource()}, executor=owning_executor)
        merged = Definitions.merge(alone, *_of_features(settings))
        # Resolved here and kept by Dagster: resolving sensors warns too, of a parameter nobody has set.
        merged.get_repository_def()
        return merged


def build_shared_definitions(settings: Settings) -> Definitions:
    """Return what may be merged into the definitions of another code location; its steps work by these settings.

    It brings the resource ``timescale`` and no executor: the jobs have theirs, and what the UI materialises without a
    job runs by the other's.
    """
    with _without_beta_warnings():
        shared = Definitions(resources={"timescale": TimescaleResource(settings)})
        return Definitions.merge(shared, *_of_features(settings))


def _of_features(settings: Settings) -> list[Definitions]:
    return [feature.defs(settings) for feature in _FEATURES]


@contextmanager
def _without_beta_warnings() -> Iterator[None]:
    """Backfill policies are marked beta; the pinned Dagster release is what we rely on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetaWarning)
        yield


@definitions
def defs() -> Definitions:
    """Return the code location for the settings of this process."""
    return build_definitions(get_settings())
