"""Who listens hears of each batch once, and of nothing that has changed nothing."""

from datetime import date
from pathlib import Path

import pytest

from analytics_pipeline.events.announcements import CHANNEL
from analytics_pipeline.events.ingest import ingest
from analytics_pipeline.events.record import record_event
from analytics_pipeline.events.sources import Source
from analytics_pipeline.metrics.partitions import begin_attempt, record_closed
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment

pytestmark = pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session, and nobody listens")


def heard(listener: Connection) -> int:
    return sum(1 for _ in listener.notifies(timeout=0.2))


def test_each_batch_and_each_closed_partition_is_announced_once(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json_lines([payment(timestamp=f"2025-{month:02}-01T00:00:00Z") for month in range(1, 13)]))
    with database.connect(autocommit=True) as listener, database.connect() as writer:
        listener.execute(f"LISTEN {CHANNEL}")
        ingest([Source.of(path)], writer, rejects_path=tmp_path / "rejects")
        assert heard(listener) == 1
        ingest([Source.of(path)], writer, rejects_path=tmp_path / "rejects")
        assert heard(listener) == 0
        with writer.transaction():
            record_event("acme", "u1", "user.login", "user_activity", connection=writer)
            assert heard(listener) == 0
        assert heard(listener) == 1
    with database.connect(autocommit=True) as listener, database.connect(autocommit=True) as closer:
        listener.execute(f"LISTEN {CHANNEL}")
        month = Window.of_month(date(2025, 1, 1))
        begin_attempt(closer, "monthly_report", Granularity.MONTH, month, "run")
        assert record_closed(closer, "monthly_report", month, "run") == 1
        assert heard(listener) == 1
