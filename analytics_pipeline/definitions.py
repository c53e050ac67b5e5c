"""The entry point of the code location."""

from analytics_pipeline.orchestration.build import build_definitions
from analytics_pipeline.settings import get_settings

defs = build_definitions(get_settings())
