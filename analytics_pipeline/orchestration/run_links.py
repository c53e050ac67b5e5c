"""How messages name a run: one form for command line, checks, sensors and mails."""

from analytics_pipeline.settings import Settings


def describe_run(settings: Settings, run_id: str) -> str:
    """Return the address of a run in the Dagster UI, or ``run`` and its whole id where ANALYTICS_UI_URL is not set."""
    return f"{settings.ui_url}/runs/{run_id}" if settings.ui_url else f"run {run_id}"
