"""What stands above ``analytics_events`` in the graph, below the sources of events: an external asset.

So a source that fails keeps no run from the hypertable, and one that has read something new makes nothing below it look
out of date: which partitions are is for TimescaleDB's own log to say.
"""

from collections.abc import Iterable

from dagster import AssetMaterialization, AssetsDefinition, AssetSpec, MetadataValue

from analytics_pipeline.asset_names import INCOMING
from analytics_pipeline.events.ingest import IngestSummary
from analytics_pipeline.events.instants import CUT, LEAP_SECOND
from analytics_pipeline.orchestration.keys import asset_key
from analytics_pipeline.orchestration.metadata import MetadataMap
from analytics_pipeline.orchestration.shared import OWNERS, STORAGE
from analytics_pipeline.settings import Settings


def build_incoming(sources: Iterable[AssetsDefinition], settings: Settings) -> AssetSpec:
    """Return the asset ``incoming_events``, below the sources that are assets."""
    return AssetSpec(
        asset_key(INCOMING, settings),
        deps=list(sources),
        description=(
            "Events on their way in: rows of the ERP, files of the inbox, and what programs send through the API or "
            "the command. Each file that the inbox, or the demo, has ingested is a materialisation of it."
        ),
        group_name=f"{settings.asset_group_prefix}{STORAGE}",
        owners=OWNERS,
    )


def ingested_file(name: str, metadata: MetadataMap, settings: Settings) -> AssetMaterialization:
    """Return the materialisation that a file which was ingested is."""
    return AssetMaterialization(
        asset_key(INCOMING, settings), description=f"Ingested {name}", metadata={"file": name, **metadata}
    )


def summary_metadata(summary: IngestSummary) -> MetadataMap:
    """Return what became of the records of a file."""
    metadata: MetadataMap = {
        "records read": summary.read,
        "new events": summary.new,
        "already there": summary.already_there,
        "replaced": summary.replaced,
        "rejected": summary.rejected,
        "conflicts": summary.conflicts,
        "rejects not kept": summary.not_kept,
        "NUL bytes skipped": summary.nul_bytes,
        CUT: summary.adjusted[CUT],
        LEAP_SECOND: summary.adjusted[LEAP_SECOND],
        "seconds": round(summary.seconds, 3),
        "rows per second": round(summary.rows_per_second),
    }
    if summary.first is not None and summary.last is not None:
        metadata["first event"] = MetadataValue.timestamp(summary.first)
        metadata["last event"] = MetadataValue.timestamp(summary.last)
    if summary.reasons:
        metadata["rejected because"] = MetadataValue.json(dict(summary.reasons.most_common(20)))
    return metadata
