"""One job per granularity, and the order in which they close a span."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from dagster import AssetCheckKey, AssetKey, AssetSelection, define_asset_job

from analytics_pipeline.health.checks import window_checks
from analytics_pipeline.metrics.subscriptions import SUBSCRIPTIONS_ASSET
from analytics_pipeline.metrics.tables import METRIC_TABLES
from analytics_pipeline.metrics.users import USERS
from analytics_pipeline.orchestration.names import WINDOW_CHECK
from analytics_pipeline.timescale.aggregates import AGGREGATES, EVENTS
from analytics_pipeline.windows import Cadence

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# Hours before days before months: TimescaleDB's invalidations don't climb by themselves, and the
# upper levels would answer "already up-to-date" and stay wrong.
CLOSING_JOBS: dict[str, Cadence] = {
    "hourly_aggregates": Cadence.HOUR,
    "daily_aggregates": Cadence.DAY,
    "monthly_aggregates": Cadence.MONTH,
    "monthly_reports": Cadence.MONTH,
}

SETUP_JOB = "hypertable_setup"
REPORT_JOB = "monthly_reports"

_DESCRIPTIONS = {
    SETUP_JOB: "Brings schema and policies to this version and checks the server and the hypertable.",
    "hourly_aggregates": "Closes the hourly partitions of every aggregate and reconciles them with the events.",
    "daily_aggregates": "Closes the daily partitions of every aggregate, of users, subscriptions and metrics.",
    "monthly_aggregates": "Closes the monthly partitions of every aggregate and of the metrics.",
    "monthly_reports": "Renders and stores the monthly PDF reports, of all companies and of each, from closed months.",
}


def build_jobs() -> "list[UnresolvedAssetJobDefinition]":
    """Return the jobs, each over the assets of one granularity; those that close run the proof of their window alone.

    Dagster keeps a row for each check and partition of a run: what speaks of an asset as a whole is judged elsewhere.
    """
    return [
        define_asset_job(SETUP_JOB, selection=AssetSelection.assets(EVENTS), description=_DESCRIPTIONS[SETUP_JOB]),
        *(define_asset_job(job, selection=_closing(job), description=_DESCRIPTIONS[job]) for job in CLOSING_JOBS),
    ]


def cadence_of(asset: str) -> Cadence:
    """Return the width of the partitions of an asset that a closing job materialises."""
    return next(cadence for job, cadence in CLOSING_JOBS.items() if asset in assets_of(job))


def proofs_of(assets: Collection[str]) -> list[AssetCheckKey]:
    """Return the checks that prove what a run closes of these assets: the only ones of a run that closes partitions."""
    return [
        AssetCheckKey(AssetKey(check.subject), WINDOW_CHECK) for check in window_checks() if check.subject in assets
    ]


def _closing(job: str) -> AssetSelection:
    assets = assets_of(job)
    return AssetSelection.assets(*assets).without_checks() | AssetSelection.checks(*proofs_of(assets))


def assets_of(job: str) -> list[str]:
    """Return the names of the assets that a job materialises."""
    if job == SETUP_JOB:
        return [EVENTS]
    if job == REPORT_JOB:
        return ["monthly_report", "company_reports"]
    cadence = CLOSING_JOBS[job]
    names = [aggregate.name for aggregate in AGGREGATES if aggregate.cadence is cadence]
    if cadence is Cadence.DAY:
        names += [USERS, SUBSCRIPTIONS_ASSET]
    return names if cadence is Cadence.HOUR else [*names, *(table.asset(cadence) for table in METRIC_TABLES)]
