"""What page one of a report says of signed months: that its own was signed, and which figures differ since."""

from collections.abc import Iterator, Mapping, Sequence

from analytics_pipeline.messages.mailed import ChangedFigure, count_changes
from analytics_pipeline.messages.message import one_line
from analytics_pipeline.metrics.rates import Unit
from analytics_pipeline.metrics.signoffs import Restatement, SignOff, read_signoffs
from analytics_pipeline.reports.changes import describe_changes
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.report import Report
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window

_NAME_CHARACTERS = 100
_MAX_FIGURES = 3


def signoffs_shown(connection: Connection, month: Window) -> Mapping[str | None, Sequence[SignOff]]:
    """Return by company (None: all together) the sign-offs that its report of a month speaks of, the newest first.

    Those of the month itself, and those of the months before it in the trend whose figures are restated.
    """
    # Its trend shows the month and the twelve before it.
    first = month.start.replace(year=month.start.year - 1)
    found: dict[str | None, list[SignOff]] = {}
    for signoff in read_signoffs(connection, None, Window(first, month.end)):
        if signoff.month == month or signoff.is_restated:
            found.setdefault(signoff.company_id, []).append(signoff)
    return found


def describe_signoffs(report: Report, formats: Formats) -> Iterator[str]:
    """Yield what is said of each sign-off of the report, in the notation of the locale."""
    for signoff in report.signoffs:
        signed = f"{one_line(signoff.signed_by, _NAME_CHARACTERS)} on {formats.day(signoff.signed_at.date())}"
        because = "; ".join(str(cause) for cause in signoff.causes)
        if signoff.restatements:
            month = "This month" if signoff.month == report.window else formats.month(signoff.month.start.date())
            changes = [_changed(restated, signoff.currency) for restated in signoff.restatements]
            listed = "; ".join(describe_changes(changes, formats, _MAX_FIGURES))
            yield (
                f"Restated: {month} was signed off by {signed}; {count_changes(changes)} from the signed ones by now: "
                f"{listed}.{f' Cause: {because}.' if because else ''}"
            )
        elif because:
            yield f"Signed off by {signed}. Figures may differ from the signed ones by definition alone: {because}."
        elif not signoff.document_is_current:
            yield f"Signed off by {signed}, with an earlier revision of this document: no figure of it differs."


def _changed(restated: Restatement, currency: str) -> ChangedFigure:
    unit = {Unit.MONEY: f", {currency}", Unit.PERCENT: ", %"}.get(restated.unit, "")
    before, after, difference = (
        None if value is None else f"{value:f}" for value in (restated.before, restated.after, restated.difference)
    )
    return ChangedFigure(restated.name, f"{restated.label}{unit}", None, before, after, difference)
