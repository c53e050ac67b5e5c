"""What a backup says of itself: read back as it was written, and compared with what is found."""

from dataclasses import replace

import pytest

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.operations.manifest import (
    ChunkCount,
    Content,
    MonthFigures,
    PolicyState,
    StoredDatabase,
    TableCount,
    differences,
    read_manifest,
    write_manifest,
)
from analytics_pipeline_tests.operations.backups import a_manifest

CONTENT = Content(
    tables=(TableCount("analytics_events", 3, "77", "2025-01-01T00:00:00+00:00", "2025-02-03T00:00:00+00:00"),),
    chunks=(ChunkCount("analytics_events", "2025-01-02", "2025-01-09", 3, "77", compressed=True, total="30.00"),),
    policies=(PolicyState(1000, "policy_retention", "analytics_events", {"drop_after": "2 years"}, scheduled=True),),
    figures=(MonthFigures("2025-01", {"total_revenue": "30.00", "gross_mrr_churn_rate": None}),),
)


def test_a_manifest_is_read_as_it_was_written() -> None:
    manifest = a_manifest(database=StoredDatabase("database.dump", "17.5", CONTENT, ("owner",), {"jit": "off"}))
    assert read_manifest(write_manifest(manifest), "here") == manifest


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"format": 1'])
def test_a_damaged_manifest_is_named(damage: bytes) -> None:
    with pytest.raises(AnalyticsError, match=r"place/manifest\.json is damaged"):
        read_manifest(damage, "place/manifest.json")


def test_a_manifest_with_another_number_in_it_is_damaged() -> None:
    text = write_manifest(a_manifest(database=StoredDatabase("database.dump", "17.5", CONTENT)))
    assert b'"rows": 3' in text
    with pytest.raises(AnalyticsError, match="its checksum is another"):
        read_manifest(text.replace(b'"rows": 3', b'"rows": 4'), "here")


def test_policies_that_are_switched_off_are_no_difference() -> None:
    off = replace(CONTENT, policies=(replace(CONTENT.policies[0], scheduled=False),))
    assert differences(CONTENT, off) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (replace(CONTENT, tables=()), "the table analytics_events is missing"),
        (replace(CONTENT, tables=(replace(CONTENT.tables[0], rows=2),)), "has 2 rows, 3 in the backup"),
        (replace(CONTENT, tables=(replace(CONTENT.tables[0], checksum="78"),)), "holds other values"),
        (replace(CONTENT, tables=(*CONTENT.tables, TableCount("more", 0, "0"))), "the table more is not in the backup"),
        (replace(CONTENT, chunks=()), "the chunk of analytics_events from 2025-01-02 is missing"),
        (replace(CONTENT, chunks=(replace(CONTENT.chunks[0], compressed=False),)), "is not compressed"),
        (replace(CONTENT, chunks=(replace(CONTENT.chunks[0], total="31.00"),)), "holds other values"),
        (replace(CONTENT, policies=()), "policy_retention of analytics_events is missing"),
        (replace(CONTENT, policies=(replace(CONTENT.policies[0], config={}),)), "or another one"),
        (replace(CONTENT, figures=(MonthFigures("2025-01", {"total_revenue": "31.00"}),)), "is 31.00, 30.00 in the"),
    ],
)
def test_each_difference_is_named(found: Content, said: str) -> None:
    (line,) = differences(CONTENT, found)
    assert said in line
