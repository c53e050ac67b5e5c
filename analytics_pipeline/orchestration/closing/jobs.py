"""What there is to close: one job per granularity, in the order in which they close a span, and its assets."""

from collections.abc import Collection

from dagster import AssetCheckKey, AssetSelection

from analytics_pipeline.asset_names import COMPANY_REPORTS, FX_ASSET, MONTHLY_REPORT, SUBSCRIPTIONS_ASSET, USERS
from analytics_pipeline.health.checks import window_checks
from analytics_pipeline.metrics.tables import METRIC_TABLES, MRR_MOVEMENTS, REVENUE_METRICS, USER_METRICS, MetricTable
from analytics_pipeline.orchestration.keys import assets_named, check_key
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.windows import Granularity

# Hours before days before months: TimescaleDB's invalidations don't climb by themselves, and the
# upper levels would answer "already up-to-date" and stay wrong.
CLOSING_JOBS: dict[str, Granularity] = {
    "hourly_aggregates": Granularity.HOUR,
    "daily_aggregates": Granularity.DAY,
    "monthly_aggregates": Granularity.MONTH,
    "monthly_reports": Granularity.MONTH,
}

REPORT_JOB = "monthly_reports"

# The check that proves the partitions which a run has just closed, of every asset that has one.
WINDOW_CHECK = "window_reconciles"

# What figures are computed from besides their aggregates.
_SOURCES = {
    REVENUE_METRICS: [USERS, SUBSCRIPTIONS_ASSET, FX_ASSET],
    MRR_MOVEMENTS: [SUBSCRIPTIONS_ASSET, FX_ASSET],
    USER_METRICS: [USERS],
}


def granularity_of(asset: str) -> Granularity:
    """Return the width of the partitions of an asset that a closing job materialises."""
    return next(granularity for job, granularity in CLOSING_JOBS.items() if asset in assets_of(job))


def proofs_of(assets: Collection[str], settings: Settings) -> list[AssetCheckKey]:
    """Return the checks that prove what a run closes of these assets: the only ones of a run that closes partitions."""
    return [check_key(check.subject, WINDOW_CHECK, settings) for check in window_checks() if check.subject in assets]


def selection_of(job: str, settings: Settings) -> AssetSelection:
    """Return what a job selects: its assets, with the proofs of their windows and no other check."""
    assets = assets_of(job)
    return assets_named(assets, settings).without_checks() | AssetSelection.checks(*proofs_of(assets, settings))


def assets_of(job: str) -> list[str]:
    """Return the names of the assets that a job materialises."""
    if job == REPORT_JOB:
        return [MONTHLY_REPORT, COMPANY_REPORTS]
    granularity = CLOSING_JOBS[job]
    names = [aggregate.name for aggregate in AGGREGATES if aggregate.granularity is granularity]
    if granularity is Granularity.DAY:
        names += [USERS, SUBSCRIPTIONS_ASSET]
    return (
        names if granularity is Granularity.HOUR else [*names, *(table.asset(granularity) for table in METRIC_TABLES)]
    )


def partitioned_assets() -> list[str]:
    """Return the names of all partitioned assets."""
    return [asset for job in CLOSING_JOBS for asset in assets_of(job)]


def metric_sources(table: MetricTable, granularity: Granularity) -> list[str]:
    """Return the assets that the days, or the months, of a metric are computed from."""
    # Days are not built on months: whole months alone are counted over the monthly user grain.
    aggregates = [a for a in table.aggregates if granularity is Granularity.MONTH or not a.endswith("_monthly")]
    return [*aggregates, *_SOURCES[table]]
