"""The asset checks: what ``analytics_pipeline.health`` judges, and what only Dagster's own records tell."""
