"""The files of a deployment, read as the tools that use them would."""

import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def read_text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def read_yaml(name: str) -> Any:
    return yaml.safe_load(read_text(name))


def fill_in(value: Any, variables: dict[str, str]) -> Any:
    """Put variables in like Compose does; raise ``LookupError`` for a required one that is missing."""
    if isinstance(value, dict):
        return {key: fill_in(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_in(item, variables) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        if variables.get(name):
            return variables[name]
        if kind == "?":
            raise LookupError(f"{name} {text}")
        return text or ""

    return _VARIABLE.sub(replace, value)


def example_environment() -> dict[str, str]:
    """The variables that .env.example sets, and those it shows as comments."""
    found = re.findall(r"^(?:# )?([A-Z][A-Z_]+)=(.*)$", read_text(".env.example"), re.MULTILINE)
    return dict(found)
