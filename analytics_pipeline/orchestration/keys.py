"""How the names of our assets become keys of Dagster, and back: with the prefix of the settings, if there is one."""

from collections.abc import Iterable

from dagster import AssetCheckKey, AssetKey, AssetSelection

from analytics_pipeline.settings import Settings


def asset_key(name: str, settings: Settings) -> AssetKey:
    """Return the key of one of our assets."""
    return AssetKey([*settings.key_prefix, name])


def check_key(subject: str, check: str, settings: Settings) -> AssetCheckKey:
    """Return the key of a check of one of our assets."""
    return AssetCheckKey(asset_key(subject, settings), check)


def asset_name(key: AssetKey, settings: Settings) -> str | None:
    """Return the name of the asset with this key, None if it is none of ours by its prefix."""
    *prefix, name = key.path
    return name if tuple(prefix) == settings.key_prefix else None


def assets_named(names: Iterable[str], settings: Settings) -> AssetSelection:
    """Return the selection of our assets with these names, with their checks."""
    return AssetSelection.assets(*(asset_key(name, settings) for name in names))
