"""The table of users as an asset."""

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, asset

from analytics_pipeline.metrics.users import USER_COLUMNS, USERS, update_users
from analytics_pipeline.orchestration import names
from analytics_pipeline.orchestration.metadata import table_schema
from analytics_pipeline.orchestration.partitions import backfill_policy_for, partitions_for, window_of
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import EVENTS
from analytics_pipeline.windows import Cadence


def build_users_asset(settings: Settings) -> AssetsDefinition:
    """Return the asset ``analytics_users``, partitioned by day."""

    @asset(
        name=USERS,
        description=(
            "Every user with the time of the first event and of the deletion. It outlives the raw events; "
            "materialising a day adds whom its events show, in any order of days."
        ),
        deps=[EVENTS],
        partitions_def=partitions_for(Cadence.DAY, settings),
        backfill_policy=backfill_policy_for(Cadence.DAY),
        group_name=names.METRICS,
        kinds={"postgres"},
        owners=names.OWNERS,
        retry_policy=names.RETRY,
        pool=names.POOL,
        metadata={"dagster/table_name": USERS, "dagster/column_schema": table_schema(USER_COLUMNS)},
    )
    def _analytics_users(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        window = window_of(context)
        with timescale.session() as connection:
            changed = update_users(connection, window)
        return MaterializeResult(metadata={"window": str(window), "users added or changed": changed})

    return _analytics_users
