"""The tables kept beside the events, because they must outlive them: users and subscriptions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, asset

from analytics_pipeline.metrics.subscriptions import (
    SUBSCRIPTION_COLUMNS,
    SUBSCRIPTIONS,
    SUBSCRIPTIONS_ASSET,
    update_subscriptions,
)
from analytics_pipeline.metrics.users import USER_COLUMNS, USERS, update_users
from analytics_pipeline.orchestration import names
from analytics_pipeline.orchestration.attempts import attempt
from analytics_pipeline.orchestration.metadata import table_schema
from analytics_pipeline.orchestration.partitions import backfill_policy_for, partitions_for
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import EVENTS, LOGS_DAYS, Column
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Cadence, Window


@dataclass(frozen=True, slots=True)
class _History:
    asset: str
    table: str
    description: str
    columns: Mapping[str, Column]
    update: Callable[[Connection, Window], int]
    # Whether its days can't be settled any more once their events have expired.
    needs_events: bool


_HISTORIES = (
    _History(
        asset=USERS,
        table=USERS,
        description=(
            "Every user with the time of the first event, and beside it (analytics_user_deletions) when users were "
            "deleted and came back. It outlives the raw events; materialising a day settles it by the events that the "
            "day has now, in any order of days."
        ),
        columns=USER_COLUMNS,
        update=update_users,
        needs_events=False,
    ),
    _History(
        asset=SUBSCRIPTIONS_ASSET,
        table=SUBSCRIPTIONS,
        description=(
            "Every subscription as it was from one change to the next, with its monthly amount. It outlives the raw "
            "events; materialising a day puts that day's changes in place, in any order of days."
        ),
        columns=SUBSCRIPTION_COLUMNS,
        update=update_subscriptions,
        needs_events=True,
    ),
)


def build_history_assets(settings: Settings) -> list[AssetsDefinition]:
    """Return the assets ``analytics_users`` and ``subscriptions``, partitioned by day."""
    return [_build_asset(history, settings) for history in _HISTORIES]


def _build_asset(history: _History, settings: Settings) -> AssetsDefinition:
    @asset(
        name=history.asset,
        description=history.description,
        # After the refresh that clears the log by which late events find the days of both.
        deps=[EVENTS, LOGS_DAYS],
        partitions_def=partitions_for(Cadence.DAY, settings),
        backfill_policy=backfill_policy_for(Cadence.DAY),
        group_name=names.METRICS,
        kinds={"postgres"},
        owners=names.OWNERS,
        retry_policy=names.RETRY,
        pool=names.POOL,
        metadata={"dagster/table_name": history.table, "dagster/column_schema": table_schema(history.columns)},
    )
    def _history_asset(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        closing = attempt(context, timescale, history.asset, needs_events=history.needs_events, proved_by_check=True)
        with closing as (connection, window):
            changed = history.update(connection, window)
        return MaterializeResult(metadata={"window": str(window), "rows added, changed or removed": changed})

    return _history_asset
