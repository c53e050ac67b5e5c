"""The code location as a component of Dagster, for projects that are put together as YAML."""

from datetime import date
from typing import Any, Self

from dagster import Component, ComponentLoadContext, Definitions
from pydantic import BaseModel, ConfigDict, Field, create_model

from analytics_pipeline.definitions import build_shared_definitions
from analytics_pipeline.settings import Settings, read_settings

# Where Dagster's own storage is, is a matter of the instance.
_OF_THE_INSTANCE = "dagster_postgres_url"

# Fields without types of their own: what is written is judged by the settings, when its templates have been rendered.
_FIELDS: dict[str, Any] = {
    name: (str | int | date | None, Field(default=None, description=field.description))
    for name, field in Settings.model_fields.items()
    if name != _OF_THE_INSTANCE
}
PipelineAttributes: type[BaseModel] = create_model(
    "PipelineAttributes", __config__=ConfigDict(extra="forbid"), **_FIELDS
)


class Pipeline(Component):
    """Analytics of a multi-tenant crypto-ERP on TimescaleDB: aggregates, metrics, reports, mails, alerts.

    Attributes are the settings by their names in lower case, ANALYTICS_START as start; what is not named comes from the
    environment, as everywhere. asset_key_prefix and asset_group_prefix keep its assets apart from those of others.
    """

    def __init__(self, settings: Settings) -> None:
        """Take the settings by which its assets, and their runs, work."""
        self.settings = settings

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model of its attributes."""
        return PipelineAttributes

    @classmethod
    def load(cls, attributes: BaseModel | None, context: ComponentLoadContext) -> Self:
        """Read the settings; raises ``AnalyticsError`` naming the one that makes no sense and what it should be."""
        named = {} if attributes is None else attributes.model_dump(exclude_unset=True)
        return cls(read_settings(context.resolution_context.resolve_value(named)))

    def build_defs(self, context: ComponentLoadContext) -> Definitions:  # noqa: ARG002  # Dagster's signature
        """Return everything that there is for these settings."""
        return build_shared_definitions(self.settings)
