"""The rates of exchange as an asset, with the job and the schedule that bring it up to date."""

from datetime import date

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    Definitions,
    Failure,
    MaterializeResult,
    MetadataValue,
)

from analytics_pipeline.asset_names import FX_ASSET
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.fx.csv_rates import Reading, read_source
from analytics_pipeline.fx.exchange_rates import FX_COLUMNS, FX_RATES
from analytics_pipeline.fx.rate_sources import RatesUnreachableError
from analytics_pipeline.fx.rate_store import store_rates
from analytics_pipeline.fx.show import stored_rates
from analytics_pipeline.orchestration.keys import assets_named
from analytics_pipeline.orchestration.metadata import MetadataMap
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.shared import STORAGE, pipeline_asset, pipeline_job, pipeline_schedule
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import check_clock

# Not the asset's own name: Dagster wants the names of jobs and of steps to differ.
FX_JOB = "fx_rates_daily"


def defs(settings: Settings) -> Definitions:
    """Return the asset ``fx_rates``, with the job and the schedule ``fx_rates_daily``."""
    job = pipeline_job(
        FX_JOB,
        assets_named([FX_ASSET], settings),
        "Loads the rates of exchange of ANALYTICS_FX_SOURCE and checks that they suffice.",
    )
    schedule = pipeline_schedule(
        FX_JOB,
        FX_JOB,
        # The ECB publishes the day's rates around 16:00 in Frankfurt, 14:00 or 15:00 UTC.
        "30 16 * * *",
        "Loads the rates of exchange each day at 16:30 UTC, after the ECB has published the day's.",
    )
    return Definitions(assets=[_build_asset(settings)], jobs=[job], schedules=[schedule])


def _build_asset(settings: Settings) -> AssetsDefinition:
    @pipeline_asset(
        FX_ASSET,
        "The rates of exchange that amounts are converted at. Materialising it loads the configured source "
        "(ANALYTICS_FX_SOURCE); figures whose days got new or other rates are computed again.",
        settings,
        # Beside the events: what amounts are converted at comes in from outside, too.
        group=STORAGE,
        kinds={"postgres"},
        table=FX_RATES,
        columns=FX_COLUMNS,
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


def _read(settings: Settings, today: date) -> Reading:
    """Read the source; what may pass by itself is raised as it is, for the retry policy."""
    try:
        return read_source(settings.fx_source, today=today, rejects_kept=settings.rejects_kept)
    except RatesUnreachableError:
        raise
    except AnalyticsError as error:
        raise Failure(description=str(error), allow_retries=False) from error
