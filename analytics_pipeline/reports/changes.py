"""Figures that differ between two documents, in words."""

from collections.abc import Sequence
from decimal import Decimal

from analytics_pipeline.languages.wording import message
from analytics_pipeline.messages.mailed import ChangedFigure
from analytics_pipeline.metrics.rates import points
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.tabular import Kind

# A document and a mail list so many; analytics_report_documents.corrections has all.
MAX_LISTED = 5
# A company's name may be long; five of them still stand on page one.
_LABEL_CHARACTERS = 120


def describe_changes(changes: Sequence[ChangedFigure], formats: Formats, most: int = MAX_LISTED) -> list[str]:
    """Return what has changed, in words: ``MRR, EUR 110.00, before 100.00 (+10.00)``.

    A figure that several sections show is named once; of more than ``most`` the last entry gives the number of the
    others.
    """
    by_label = {change.label: change for change in reversed(changes)}
    labels = list(dict.fromkeys(change.label for change in changes))
    listed = [_described(by_label[label], formats) for label in labels[:most]]
    more = len(labels) - most
    return [*listed, formats.say(message("and {number} more", number=more))] if more > 0 else listed


def _described(change: ChangedFigure, formats: Formats) -> str:
    label = formats.say(change.label)
    if len(label) > _LABEL_CHARACTERS:
        label = f"{label[: _LABEL_CHARACTERS - 1].rstrip()}\u2026"
    kind = Kind[change.kind.upper()] if change.kind else Kind.NUMBER
    before, after = (
        formats.cell(None if value is None else Decimal(value), kind) for value in (change.before, change.after)
    )
    if change.difference is None:
        return formats.say(message("{figure} {now}, before {before}", figure=label, now=after, before=before))
    number = Decimal(change.difference)
    difference = f"{'+' if number > 0 else ''}{formats.cell(number, Kind.NUMBER)}"
    if kind is not Kind.NUMBER:
        difference = formats.say(points(number, difference))
    return formats.say(
        message(
            "{figure} {now}, before {before} ({difference})",
            figure=label,
            now=after,
            before=before,
            difference=difference,
        )
    )
