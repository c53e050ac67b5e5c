"""Figures that differ between two documents, in words.

Belongs here: the words for page one, mails and lists. Does not belong here: finding them (``documents``).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.tabular import Kind

# A document and a mail list so many; analytics_report_documents.corrections has all.
MAX_LISTED = 5
# A company's name may be long; five of them still stand on page one.
_LABEL_CHARACTERS = 120


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


def describe_changes(changes: Sequence[ChangedFigure], formats: Formats, most: int = MAX_LISTED) -> list[str]:
    """Return what has changed, in words: ``MRR, EUR 110.00, before 100.00 (+10.00)``.

    A figure that several sections show is named once; of more than ``most`` the last entry gives the number of the
    others.
    """
    by_label = {change.label: change for change in reversed(changes)}
    labels = list(dict.fromkeys(change.label for change in changes))
    listed = [_described(by_label[label], formats) for label in labels[:most]]
    return [*listed, f"and {len(labels) - most} more"] if len(labels) > most else listed


def count_changes(changes: Sequence[ChangedFigure]) -> str:
    """Return how many figures differ, in words; one that several sections show is one."""
    number = len({change.label for change in changes})
    return f"{number} {'figure differs' if number == 1 else 'figures differ'}"


def _described(change: ChangedFigure, formats: Formats) -> str:
    label = change.label
    if len(label) > _LABEL_CHARACTERS:
        label = f"{label[: _LABEL_CHARACTERS - 1].rstrip()}\u2026"
    kind = Kind[change.kind.upper()] if change.kind else Kind.NUMBER
    before, after = (
        formats.cell(None if value is None else Decimal(value), kind) for value in (change.before, change.after)
    )
    if change.difference is None:
        return f"{label} {after}, before {before}"
    difference = Decimal(change.difference)
    sign = "+" if difference > 0 else ""
    points = "" if kind is Kind.NUMBER else " points"
    return f"{label} {after}, before {before} ({sign}{formats.cell(difference, Kind.NUMBER)}{points})"
