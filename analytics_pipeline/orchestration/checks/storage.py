"""Checks of the server and of the hypertable."""

from dagster import AssetCheckResult, AssetChecksDefinition, asset_check

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration.names import POOL
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.timescale.aggregates import EVENTS
from analytics_pipeline.timescale.hypertable import hypertable_drift
from analytics_pipeline.timescale.server import require_fit_server, server_info


def build_storage_checks() -> list[AssetChecksDefinition]:
    """Return ``timescaledb_extension`` and ``hypertable_layout``."""
    return [_build_extension_check(), _build_layout_check()]


def _build_extension_check() -> AssetChecksDefinition:
    @asset_check(
        asset=EVENTS,
        name="timescaledb_extension",
        description="TimescaleDB is installed, of its Community edition, and of a version without known data loss.",
        pool=POOL,
    )
    def _timescaledb_extension(timescale: Timescale) -> AssetCheckResult:
        with timescale.session() as connection:
            try:
                require_fit_server(info := server_info(connection))
            except AnalyticsError as error:
                return AssetCheckResult(passed=False, description=str(error))
        return AssetCheckResult(
            passed=True,
            description=f"TimescaleDB {info.timescaledb_version}, Community edition, on PostgreSQL "
            f"{info.postgres_version}.",
            metadata={
                "version": info.timescaledb_version,
                "PostgreSQL": info.postgres_version,
                "licence": info.license,
                "concurrent refreshes are safe": info.allows_engine_refresh,
            },
        )

    return _timescaledb_extension


def _build_layout_check() -> AssetChecksDefinition:
    @asset_check(
        asset=EVENTS,
        name="hypertable_layout",
        description='analytics_events is a hypertable on "timestamp" with its unique key and compression settings.',
        pool=POOL,
    )
    def _hypertable_layout(timescale: Timescale) -> AssetCheckResult:
        with timescale.session() as connection:
            drift = hypertable_drift(connection)
        return AssetCheckResult(
            passed=not drift,
            description="; ".join(drift) or f"{EVENTS} is laid out as its migration made it.",
        )

    return _hypertable_layout
