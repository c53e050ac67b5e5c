"""Renders messages from templates: text as it is, HTML with everything that is put in escaped."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER: Final = Path(__file__).parent / "templates"


def render(template: str, context: Mapping[str, object], folder: Path = FOLDER) -> str:
    """Return a template of a folder, filled in; every name that it uses has to be in ``context``.

    What goes into ``*.html`` is escaped, whatever it is. That nothing in a ``*.txt`` begins a line of its own is the
    caller's care.
    """
    return _environment(folder).get_template(template).render(context)


@cache
def _environment(folder: Path) -> "Environment":
    # A twentieth of a second to import: only a process that writes a message pays for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader([folder, FOLDER]),
        autoescape=select_autoescape(["html"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["trim_end"] = str.rstrip
    return environment
