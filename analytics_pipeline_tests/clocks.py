"""Sets the clock of this machine wrong, as far as the program reads it; the database keeps its own."""

from datetime import UTC, datetime, timedelta

import pytest

from analytics_pipeline.timescale import clock


def shift_machine_clock(patch: pytest.MonkeyPatch, by: timedelta) -> None:
    """Let this machine's clock be ahead of the database's, or behind it."""
    patch.setattr(clock, "machine_now", lambda: datetime.now(UTC) + by)
