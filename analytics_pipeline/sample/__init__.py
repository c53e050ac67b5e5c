"""Deterministic sample events of a believable crypto-ERP, for demos, benchmarks and tests.

Belongs here: inventing events. Does not belong here: loading them (``events``) or reading a clock.
"""

from analytics_pipeline.sample.generator import generate_events, write_lines, write_rates, write_sample
from analytics_pipeline.sample.stream import SampleEvent

__all__ = ["SampleEvent", "generate_events", "write_lines", "write_rates", "write_sample"]
