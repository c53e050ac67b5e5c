"""Which documents that were mailed no longer equal the one that counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection


@dataclass(frozen=True, slots=True)
class ChangedFigure:
    """A figure in two documents, both as they show it exactly (None: undefined, or not there), and the difference.

    ``name`` is that of ``shown_figures``, ``label`` what it is called for people. ``kind`` is that of its column unless
    it is a plain number; ``difference`` is None where one of the two is.
    """

    name: str
    label: str
    kind: str | None
    before: str | None
    after: str | None
    difference: str | None

    def as_json(self) -> dict[str, str | None]:
        """Return the names of the answers' kind: exact numbers as text."""
        return {
            "name": self.name,
            "label": self.label,
            "before": self.before,
            "after": self.after,
            "difference": self.difference,
        }


def changed_figures_of(rows: Iterable[Mapping[str, Any]]) -> tuple[ChangedFigure, ...]:
    """Return the figures of rows of JSON, as the database keeps and compares them."""
    return tuple(ChangedFigure(**row) for row in rows)


class Relation(StrEnum):
    """What the document that counts is to one that was mailed (``analytics_document_relation``).

    ``REPLACED``: its recipient was mailed another one since.
    """

    REPLACED = "replaced"
    CURRENT = "current"
    CORRECTED = "corrected"
    OTHER_DEFINITIONS = "other definitions"
    SAME_FIGURES = "same figures"
    WITHDRAWN = "withdrawn"

    @property
    def is_outdated(self) -> bool:
        """Whether those who were mailed the earlier one should have another."""
        return self in {Relation.CORRECTED, Relation.OTHER_DEFINITIONS}


@dataclass(frozen=True, slots=True)
class OutdatedMail:
    """A document that recipients were mailed last of a period and that does not count any more.

    ``current_definitions``, ``held_because`` and ``current_since`` are those of the document that counts, None without
    one; ``held_because`` None: it may be mailed. ``changes`` are the figures that differ under the same definitions.
    """

    relation: Relation
    changes: Sequence[ChangedFigure]
    report: str
    company_id: str | None
    period: str
    addresses: Sequence[str]
    mailed_definitions: int
    current_definitions: int | None
    held_because: str | None
    current_since: datetime | None


def outdated_mails(
    connection: Connection,
    *,
    report: str | None = None,
    period: str | None = None,
    company_id: str | None = None,
    of_one: bool = False,
) -> list[OutdatedMail]:
    """Return what was mailed and no longer equals the document that counts, the newest period first.

    ``of_one``: only the documents of ``company_id`` (None: those over all companies).
    """
    parameters = {"report": report, "period": period, "company_id": company_id, "of_one": of_one}
    rows = connection.execute(load_query("report_outdated"), parameters).fetchall()
    return [
        OutdatedMail(Relation(relation), changed_figures_of(changes), *fields) for relation, changes, *fields in rows
    ]


def describe_relation(
    relation: Relation,
    mailed_definitions: int | None,
    current_definitions: int | None,
    changes: Sequence[ChangedFigure],
) -> str:
    """Say in a few words what the document that counts is to one that was mailed."""
    match relation:
        case Relation.REPLACED:
            return "replaced by a later mail"
        case Relation.CURRENT:
            older = mailed_definitions is not None and mailed_definitions != DEFINITIONS_VERSION
            return f"current, by version {mailed_definitions} of the definitions" if older else "current"
        case Relation.CORRECTED:
            return f"corrected since: {count_changes(changes)}"
        case Relation.OTHER_DEFINITIONS:
            return f"by version {mailed_definitions} of the definitions, the current one by {current_definitions}"
        case Relation.SAME_FIGURES:
            return "made anew since, no figure differs"
        case Relation.WITHDRAWN:
            return "there is no such document any more"


def count_changes(changes: Sequence[ChangedFigure]) -> str:
    """Return how many figures differ, in words; one that several sections show is one."""
    number = count_changed(changes)
    return f"{number} {'figure differs' if number == 1 else 'figures differ'}"


def count_changed(changes: Sequence[ChangedFigure]) -> int:
    """Return how many figures differ; one that several sections show is one."""
    return len({change.label for change in changes})
