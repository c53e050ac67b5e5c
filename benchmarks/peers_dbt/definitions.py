"""The dbt project as Dagster's users drive one: every model an asset, built by one step."""

from pathlib import Path

from dagster import AssetExecutionContext, Definitions
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets

project = DbtProject(project_dir=Path(__file__).parent)


@dbt_assets(manifest=project.manifest_path)
def models(context: AssetExecutionContext, dbt: DbtCliResource):  # type: ignore[no-untyped-def]
    """Build every model."""
    yield from dbt.cli(["build"], context=context).stream()


defs = Definitions(assets=[models], resources={"dbt": DbtCliResource(project_dir=project)})
