"""The sections there are, in the order of a document.

A new section is a module in ``sections`` and a line here.
"""

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from analytics_pipeline.errors import ArgumentError, UnknownNameError
from analytics_pipeline.intake.rejection import shown

if TYPE_CHECKING:
    from analytics_pipeline.reports.report_parts import ReportPart
    from analytics_pipeline.reports.sections.section import Section

# Each is the module of that name, with ``_`` for ``-``. By names, since whoever lists them loads no reportlab for it.
SECTION_NAMES: tuple[str, ...] = (
    "headline",
    "summary",
    "companies",
    "revenue",
    "mrr",
    "users",
    "currencies",
    "refunds",
    "crypto",
    "top-events",
    "alerts",
    "data-quality",
    "reconciliation",
    "definitions",
)


def choose_sections(names: Iterable[str], *, of_company: bool = False) -> tuple[str, ...]:
    """Return the names of the sections chosen, each once, in the order of a document; without a name all there are.

    Raises ``AnalyticsError`` for a name that is none, and for one that a company's report does not have.
    """
    wanted = {name.strip() for name in names} - {""}
    if unknown := sorted(wanted.difference(SECTION_NAMES)):
        raise UnknownNameError(f"There is no section {shown(unknown[0])}: choose from {', '.join(SECTION_NAMES)}.")
    offered = [name for name in SECTION_NAMES if not (of_company and _section(name).compares_companies)]
    if foreign := sorted(wanted.difference(offered)):
        raise ArgumentError(f"The section {foreign[0]} is part of reports over all companies: leave out the company.")
    return tuple(name for name in offered if name in wanted or not wanted)


def sections_of(names: Iterable[str]) -> "list[Section]":
    """Return the sections of names that ``choose_sections`` returned."""
    return [_section(name) for name in names]


def parts_of(names: Iterable[str]) -> "tuple[ReportPart[Any], ...]":
    """Return what has to be loaded for the sections of these names, each part once."""
    return tuple(dict.fromkeys(part for section in sections_of(names) for part in section.parts))


def _section(name: str) -> "Section":
    module = import_module(f"analytics_pipeline.reports.sections.{name.replace('-', '_')}")
    return cast("Section", module.SECTION)
