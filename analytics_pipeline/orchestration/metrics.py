"""Metrics as assets: each table's days and its months, with what they stand on besides the aggregates, and alerts.

The check ``alerts`` blocks nothing: a rule that fires is a matter for those it notifies, and the figures are right all
the same. Runs that close partitions judge it once these are proved (``closing.proofs``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dagster import (
    AssetCheckResult,
    AssetChecksDefinition,
    AssetExecutionContext,
    AssetsDefinition,
    Definitions,
    MaterializeResult,
)

from analytics_pipeline.alerts.alert_check import CHECK, check_alerts
from analytics_pipeline.asset_names import EVENTS, SUBSCRIPTIONS_ASSET, USERS
from analytics_pipeline.companies.calendar import platform_calendar
from analytics_pipeline.metrics.closed_periods import closed_periods, rows_by_day
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.subscriptions import SUBSCRIPTION_COLUMNS, SUBSCRIPTIONS, update_subscriptions
from analytics_pipeline.metrics.tables import GRANULARITIES, METRIC_TABLES, MetricTable, close_metric
from analytics_pipeline.metrics.users import USER_COLUMNS, update_users
from analytics_pipeline.orchestration.check_results import check_result
from analytics_pipeline.orchestration.closing.attempts import attempt
from analytics_pipeline.orchestration.closing.jobs import metric_sources
from analytics_pipeline.orchestration.metadata import ROWS, MetadataMap, describe_partitions, plotted
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs.tags import FIGURES, OTHERS
from analytics_pipeline.orchestration.shared import METRICS, pipeline_asset, pipeline_check
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import LOGS_DAYS, Column
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window


@dataclass(frozen=True, slots=True)
class _History:
    """A table kept beside the events because it must outlive them, partitioned by day."""

    asset: str
    table: str
    description: str
    columns: Mapping[str, Column]
    # The instant by which a row belongs to a day.
    begins: str
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
        begins="first_seen",
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
        begins="valid_from",
        update=update_subscriptions,
        needs_events=True,
    ),
)


def defs(settings: Settings) -> Definitions:
    """Return an asset per metric table and granularity with its check ``alerts``, and those of users, subscriptions."""
    tables = [(table, granularity) for granularity in GRANULARITIES for table in METRIC_TABLES]
    return Definitions(
        assets=[
            *(_build_history(history, settings) for history in _HISTORIES),
            *(_build_metric(table, granularity, settings) for table, granularity in tables),
        ],
        asset_checks=[_build_alerts(table, granularity, settings) for table, granularity in tables],
    )


def _build_metric(table: MetricTable, granularity: Granularity, settings: Settings) -> AssetsDefinition:
    needs_events = table.needs_raw_events and granularity is Granularity.DAY

    @pipeline_asset(
        table.asset(granularity),
        f"{table.description} of each closed {granularity}: rows of {table.table} with granularity '{granularity}', "
        "each company's of its own time zone and currency, and the platform's over all (without a company). Computed "
        "again when late events, rates, subscriptions or a company's calendar change what they stand on.",
        settings,
        group=METRICS,
        kinds={"postgres"},
        deps=metric_sources(table, granularity),
        granularity=granularity,
        table=table.table,
        columns=table.columns,
        # A change of the definitions shows in the UI: partitions of the version before are then outdated.
        code_version=str(DEFINITIONS_VERSION),
        statements=FIGURES,
    )
    def _metric(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        closing = attempt(
            context,
            timescale,
            table.asset(granularity),
            needs_events=needs_events,
            proved_by_check=True,
            of_local_dates=True,
        )
        with closing as (connection, window):
            platform = platform_calendar(connection, timescale.settings)
            closed = close_metric(connection, table, granularity, window, platform.currency, platform.time_zone)
            periods = closed_periods(connection, table, granularity, window)

        def describe(partition: Window) -> MetadataMap:
            period = periods.get(partition.start)
            return {ROWS: 0} if period is None else {ROWS: period.rows, **plotted(period.figures)}

        describe_partitions(context, granularity, window, describe)
        run = f"{closed.rows:,} rows computed in {closed.seconds:.3f} s, {closed.changed:,} of them differ from before"
        if closed.years:
            run += f"; with them the years {', '.join(str(year.year) for year in closed.years)}"
        return MaterializeResult(metadata={"window": str(window), "run": run})

    return _metric


def _build_history(history: _History, settings: Settings) -> AssetsDefinition:
    @pipeline_asset(
        history.asset,
        history.description,
        settings,
        group=METRICS,
        kinds={"postgres"},
        # After the refresh that clears the log by which late events find the days of both.
        deps=[EVENTS, LOGS_DAYS],
        granularity=Granularity.DAY,
        table=history.table,
        columns=history.columns,
        statements=OTHERS,
    )
    def _history_asset(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        closing = attempt(context, timescale, history.asset, needs_events=history.needs_events, proved_by_check=True)
        with closing as (connection, window):
            changed = history.update(connection, window)
            rows = rows_by_day(connection, history.table, history.begins, window)
        describe_partitions(context, Granularity.DAY, window, lambda day: {ROWS: rows.get(day.start, 0)})
        run = f"{changed:,} rows added, changed or removed"
        return MaterializeResult(metadata={"window": str(window), "run": run})

    return _history_asset


def _build_alerts(table: MetricTable, granularity: Granularity, settings: Settings) -> AssetChecksDefinition:
    @pipeline_check(
        table.asset(granularity),
        CHECK,
        f"No rule of the file of rules fires in the latest closed {granularity}, which begins and ends alerts and "
        "notifies people.",
        settings,
        statements=OTHERS,
    )
    def _alerts(timescale: Timescale) -> AssetCheckResult:
        with timescale.session() as connection:
            return check_result(check_alerts(connection, timescale.settings, table, granularity), timescale.settings)

    return _alerts
