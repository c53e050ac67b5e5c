"""How events come in through Dagster: files of the inbox, and the tables of an ERP."""

from dagster import Definitions

from analytics_pipeline.orchestration.ingestion.control_totals import build_control_totals
from analytics_pipeline.orchestration.ingestion.erp_sources import build_erp_assets, build_erp_job, build_erp_sensor
from analytics_pipeline.orchestration.ingestion.event_inbox import build_inbox_job, build_inbox_sensor
from analytics_pipeline.orchestration.ingestion.incoming_events import build_incoming
from analytics_pipeline.settings import Settings


def defs(settings: Settings) -> Definitions:
    """Return the assets of the ERP's sources and of what comes in, jobs, sensors, and the check of control totals."""
    sources = build_erp_assets(settings)
    ways_in = Definitions(
        assets=[*sources, build_incoming(sources, settings)],
        jobs=[build_inbox_job(), build_erp_job(settings)],
        sensors=[build_inbox_sensor(), build_erp_sensor()],
    )
    return Definitions.merge(ways_in, build_control_totals(settings))
