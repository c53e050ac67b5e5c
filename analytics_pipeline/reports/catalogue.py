"""The sections there are, in the order of a document.

A new section is a module in ``sections`` and an entry here.
"""

from collections.abc import Iterable, Sequence

from analytics_pipeline.errors import ArgumentError, UnknownNameError
from analytics_pipeline.intake.rejection import shown
from analytics_pipeline.reports.load import ReportParts
from analytics_pipeline.reports.sections import (
    alerts,
    companies,
    crypto,
    currencies,
    definitions,
    headline,
    mrr,
    quality,
    reconciliation,
    refunds,
    revenue,
    summary,
    top_events,
    users,
)
from analytics_pipeline.reports.sections.section import Section

SECTIONS: Sequence[Section] = (
    headline.SECTION,
    summary.SECTION,
    companies.SECTION,
    revenue.SECTION,
    mrr.SECTION,
    users.SECTION,
    currencies.SECTION,
    refunds.SECTION,
    crypto.SECTION,
    top_events.SECTION,
    alerts.SECTION,
    quality.SECTION,
    reconciliation.SECTION,
    definitions.SECTION,
)
_BY_NAME = {section.name: section for section in SECTIONS}
SECTION_NAMES = tuple(_BY_NAME)


def choose_sections(names: Iterable[str], *, of_company: bool = False) -> tuple[str, ...]:
    """Return the names of the sections chosen, each once, in the order of a document; without a name all there are.

    Raises ``AnalyticsError`` for a name that is none, and for one that a company's report does not have.
    """
    wanted = {name.strip() for name in names} - {""}
    if unknown := sorted(wanted.difference(_BY_NAME)):
        raise UnknownNameError(f"There is no section {shown(unknown[0])}: choose from {', '.join(SECTION_NAMES)}.")
    offered = [name for name, section in _BY_NAME.items() if not (of_company and section.compares_companies)]
    if foreign := sorted(wanted.difference(offered)):
        raise ArgumentError(f"The section {foreign[0]} is part of reports over all companies: leave out the company.")
    return tuple(name for name in offered if name in wanted or not wanted)


def sections_of(names: Iterable[str]) -> list[Section]:
    """Return the sections of names that ``choose_sections`` returned."""
    return [_BY_NAME[name] for name in names]


def wanted_by(names: Iterable[str]) -> ReportParts:
    """Return what has to be loaded for the sections; the quality of the data is marked in every title."""
    chosen = sections_of(names)
    return ReportParts(
        months=any(section.needs_months for section in chosen),
        quality=any(section.needs_quality for section in chosen),
        companies=any(section.compares_companies for section in chosen),
    )
