"""The sources of the ERP as assets, one each, and the job that reads all of them."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    MaterializeResult,
    MetadataValue,
    asset,
    define_asset_job,
)

from analytics_pipeline.erp.record import SourceResult, record_source
from analytics_pipeline.erp.source_files import ErpSource, choose_sources, read_shipped_sources, read_sources
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration import names
from analytics_pipeline.orchestration.metadata import MetadataMap
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import EVENTS

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

ERP_JOB = "erp_sources"
ASSET_PREFIX = "erp_"
# A long history is read by several runs, of a few minutes each.
_MOST_ROWS_PER_RUN = 1_000_000
_SECONDS_BETWEEN_LINES = 10.0

_log = logging.getLogger(__name__)


def sources_of(settings: Settings) -> list[ErpSource]:
    """Return the sources that are assets: those of the settings, or the shipped ones if those can't be read.

    A broken file must not take the whole code location with it: materialising the assets says what is wrong.
    """
    try:
        return read_sources(settings)
    except AnalyticsError as error:
        _log.warning("The sources of the ERP can't be read: %s", error)
        return read_shipped_sources()


def build_erp_assets(settings: Settings) -> list[AssetsDefinition]:
    """Return one asset per source, ``erp_<name>``; they exist whether an ERP is configured or not."""
    return [_build_asset(source) for source in sources_of(settings)]


def build_erp_job(settings: Settings) -> "UnresolvedAssetJobDefinition":
    """Return the job ``erp_sources``: every source, one after the other; one that fails leaves the others alone."""
    keys = [ASSET_PREFIX + source.name for source in sources_of(settings)]
    return define_asset_job(
        ERP_JOB,
        selection=AssetSelection.assets(*keys),
        description="Records events from the ERP's own tables (ANALYTICS_ERP_URL); the sensor erp_sources starts it.",
    )


def _build_asset(source: ErpSource) -> AssetsDefinition:
    @asset(
        name=ASSET_PREFIX + source.name,
        description=(
            f"{source.description} Recorded into {EVENTS} from the database of ANALYTICS_ERP_URL, by the query "
            f"{source.file}; repeating it is harmless."
        ),
        # The table has to be there before anything is recorded into it.
        deps=[AssetKey(EVENTS)],
        group_name=names.STORAGE,
        kinds={"postgres"},
        owners=names.OWNERS,
        retry_policy=names.RETRY,
        pool=names.POOL,
    )
    def _erp_source(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        with timescale.session() as connection:
            # Read again: the file may have been mended since this process was started.
            (current,) = choose_sources(read_sources(timescale.settings), [source.name])
            result = record_source(
                connection,
                timescale.settings,
                current,
                max_rows=_MOST_ROWS_PER_RUN,
                progress=_log_progress(context),
            )
        if result.taken_over:
            context.log.warning("Another run has begun to read this source and goes on; this one stopped.")
        return MaterializeResult(metadata=_metadata(result, datetime.now(UTC)))

    return _erp_source


def _log_progress(context: AssetExecutionContext) -> Callable[[SourceResult], None]:
    logged = time.monotonic()

    def log(result: SourceResult) -> None:
        nonlocal logged
        if time.monotonic() - logged >= _SECONDS_BETWEEN_LINES:
            logged = time.monotonic()
            context.log.info(f"{result.read:,} rows read, {result.new:,} new, {result.rejected:,} rejected")

    return log


def _metadata(result: SourceResult, now: datetime) -> MetadataMap:
    metadata: MetadataMap = {
        "rows read": result.read,
        "new events": result.new,
        "already there": result.already_there,
        "rejected": result.rejected,
        "rejects not kept": result.not_kept,
        "read to the end": MetadataValue.bool(result.is_complete),
        "seconds": round(result.seconds, 3),
    }
    instants = {
        "cursor": result.cursor_at,
        "first event": result.first,
        "last event": result.last,
        "held back by a transaction since": result.held_back_since,
    }
    metadata |= {name: MetadataValue.timestamp(instant) for name, instant in instants.items() if instant is not None}
    if result.read_until is not None:
        metadata["lag (seconds)"] = max(0.0, round((now - result.read_until).total_seconds(), 1))
    if result.reasons:
        metadata["rejected because"] = MetadataValue.json(dict(result.reasons.most_common(20)))
    return metadata
