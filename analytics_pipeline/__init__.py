"""Analytics of a multi-tenant crypto-ERP, kept correct by Dagster on TimescaleDB."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analytics_pipeline.component import Pipeline

__all__ = ["Pipeline"]


def __getattr__(name: str) -> object:
    """Import the component when it is asked for: Dagster takes a second, and most commands don't need it."""
    if name == "Pipeline":
        from analytics_pipeline.component import Pipeline

        return Pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
