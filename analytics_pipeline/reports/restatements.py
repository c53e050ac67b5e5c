"""What page one of a report says of signed months: that its own was signed, and which figures differ since."""

from collections.abc import Iterator, Mapping, Sequence

from analytics_pipeline.languages.catalogues import ENGLISH
from analytics_pipeline.languages.wording import message, plural
from analytics_pipeline.messages.mailed import ChangedFigure, count_changed
from analytics_pipeline.messages.message import one_line
from analytics_pipeline.metrics.rates import Unit
from analytics_pipeline.metrics.signoffs import Restatement, SignOff, read_signoffs, utc_minute
from analytics_pipeline.reports.changes import describe_changes
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.tabular import Kind
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window

_NAME_CHARACTERS = 100
# Page one holds so much of it.
_MAX_MONTHS = 3
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
    """Yield what is said of signed months whose figures differ, in the notation of the locale, the newest first."""
    restated = [signoff for signoff in report.signoffs if signoff.is_restated]
    for signoff in restated[:_MAX_MONTHS]:
        month = message("This month") if _is_of(report, signoff) else formats.month(signoff.month.first_day)
        changes = [_changed(restatement, signoff.currency) for restatement in signoff.restatements]
        listed = "; ".join(describe_changes(changes, formats, _MAX_FIGURES))
        restatement = plural(
            "Restated: {month} was signed off by {who} on {day}; {number} figure differs from the signed ones by now: "
            "{figures}.",
            "Restated: {month} was signed off by {who} on {day}; {number} figures differ from the signed ones by now: "
            "{figures}.",
            count_changed(changes),
            month=month,
            figures=listed,
            **_signature(signoff, formats),
        )
        cause = message("Cause: {causes}.", causes=_causes(signoff, formats))
        yield " ".join(map(formats.say, [restatement, cause] if signoff.causes else [restatement]))
    if len(restated) > _MAX_MONTHS:
        others = ", ".join(formats.month(signoff.month.first_day) for signoff in restated[_MAX_MONTHS:])
        yield formats.say(message("Restated since they were signed off, too: {months}.", months=others))
    for signoff in report.signoffs:
        if signoff.differs_by_definition:
            yield formats.say(
                message(
                    "Signed off by {who} on {day}. Figures may differ from the signed ones by definition alone: "
                    "{causes}.",
                    causes=_causes(signoff, formats),
                    **_signature(signoff, formats),
                )
            )


def _is_of(report: Report, signoff: SignOff) -> bool:
    # The month of a sign-off is one of the calendar, wherever it begins.
    return report.is_month and signoff.month.first_day == report.window.first_day


def _signature(signoff: SignOff, formats: Formats) -> dict[str, str]:
    return {
        "who": one_line(signoff.signed_by, _NAME_CHARACTERS),
        "day": formats.day(signoff.signed_at.date()),
    }


def _causes(signoff: SignOff, formats: Formats) -> str:
    # English words have ISO dates.
    dated = utc_minute if formats.language is ENGLISH else formats.instant
    return "; ".join(
        formats.say(cause.words(lambda number: formats.cell(number, Kind.NUMBER), dated)) for cause in signoff.causes
    )


def _changed(restated: Restatement, currency: str) -> ChangedFigure:
    unit = {Unit.MONEY: currency, Unit.PERCENT: "%"}.get(restated.unit, "")
    before, after, difference = (
        None if value is None else f"{value:f}" for value in (restated.before, restated.after, restated.difference)
    )
    label = message("{figure}, {unit}", figure=restated.label, unit=unit) if unit else restated.label
    return ChangedFigure(restated.name, label, None, before, after, difference)
