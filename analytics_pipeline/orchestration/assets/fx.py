"""The rates of exchange as an asset, with the job and the schedule that bring it up to date."""

from datetime import date
from typing import TYPE_CHECKING

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    AssetSelection,
    DefaultScheduleStatus,
    Failure,
    MaterializeResult,
    MetadataValue,
    ScheduleDefinition,
    asset,
    define_asset_job,
)

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.fx.csv_rates import Reading, read_source
from analytics_pipeline.fx.load import store_rates
from analytics_pipeline.fx.rates import FX_COLUMNS, FX_RATES
from analytics_pipeline.fx.show import stored_rates
from analytics_pipeline.fx.sources import RatesUnreachableError
from analytics_pipeline.health.fx import FX_ASSET
from analytics_pipeline.orchestration import names
from analytics_pipeline.orchestration.metadata import MetadataMap, table_schema
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import check_clock

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# Not the asset's own name: Dagster wants the names of jobs and of steps to differ.
FX_JOB = "fx_rates_daily"


def build_fx_asset() -> AssetsDefinition:
    """Return the asset ``fx_rates``: materialising it loads the source of ``ANALYTICS_FX_SOURCE``."""

    @asset(
        name=FX_ASSET,
        description=(
            "The rates of exchange that amounts are converted at. Materialising it loads the configured source "
            "(ANALYTICS_FX_SOURCE); figures whose days got new or other rates are computed again."
        ),
        group_name=names.METRICS,
        kinds={"postgres"},
        owners=names.OWNERS,
        retry_policy=names.RETRY,
        pool=names.POOL,
        metadata={"dagster/table_name": FX_RATES, "dagster/column_schema": table_schema(FX_COLUMNS)},
    )
    def _fx_rates(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        with timescale.session() as connection:
            today = check_clock(connection).date()
        # Not while a session is open: fetching may take long.
        reading = _read(timescale.settings, today)
        with timescale.session() as connection:
            loaded = store_rates(connection, [reading])
            stored = stored_rates(connection)
        if loaded.rejected:
            context.log.warning(f"{loaded.rejected} rates were rejected: see analytics_ingest_rejects.")
        metadata: MetadataMap = {
            "dagster/row_count": stored.rows,
            "newest rate": str(stored.newest or "none"),
            "currencies": ", ".join(stored.currencies) or "none",
            "source": reading.source,
            "rates read": loaded.read,
            "new rates": loaded.new,
            "changed rates": loaded.changed,
            "unchanged rates": loaded.unchanged,
            "rejected": loaded.rejected,
            "rejects not kept": loaded.not_kept,
        }
        if loaded.reasons:
            metadata["rejected because"] = MetadataValue.json(dict(loaded.reasons.most_common()))
        return MaterializeResult(metadata=metadata)

    return _fx_rates


def build_fx_job() -> "UnresolvedAssetJobDefinition":
    """Return the job ``fx_rates_daily``: the asset with its checks."""
    return define_asset_job(
        FX_JOB,
        selection=AssetSelection.assets(FX_ASSET),
        description="Loads the rates of exchange of ANALYTICS_FX_SOURCE and checks that they suffice.",
    )


def build_fx_schedule() -> ScheduleDefinition:
    """Return the schedule ``fx_rates_daily``, switched on."""
    return ScheduleDefinition(
        name=FX_JOB,
        job_name=FX_JOB,
        # The ECB publishes the day's rates around 16:00 in Frankfurt, 14:00 or 15:00 UTC.
        cron_schedule="30 16 * * *",
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        description="Loads the rates of exchange each day at 16:30 UTC, after the ECB has published the day's.",
    )


def _read(settings: Settings, today: date) -> Reading:
    """Read the source; what may pass by itself is raised as it is, for the retry policy."""
    try:
        return read_source(settings.fx_source, today=today, rejects_kept=settings.rejects_kept)
    except RatesUnreachableError:
        raise
    except AnalyticsError as error:
        raise Failure(description=str(error), allow_retries=False) from error
