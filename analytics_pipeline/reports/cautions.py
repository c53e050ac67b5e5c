"""What a reader of a report must know of its data: the one evaluation of a period, for page one, gate and mail.

Nothing in it counts how often something was evaluated: the same data give the same words.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from analytics_pipeline.languages.wording import message
from analytics_pipeline.messages.message import one_line
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.quality import QUALITY, Quality
from analytics_pipeline.reports.reconciliation import disagreements
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.stored_words import in_words

MISSING_FROM = {
    "totalRevenue": message("Total revenue"),
    "refunds": message("Refunds"),
    "invoiced": message("Invoiced"),
    "revenueGrowth": message("Total revenue of the period before"),
    "mrr": message("MRR at the end"),
    "mrrMovements": message("What moved MRR"),
}
"""What an amount without a rate is missing from, in words, by ``Unconverted.figure``."""

_REASON_CHARACTERS = 400
# It is about the days of another period.
_OF_PERIOD_BEFORE = "revenueGrowth"


@dataclass(frozen=True, slots=True)
class Caution:
    """A sentence for readers; ``holds``: as long as it is true the report is not mailed."""

    text: str
    holds: bool = True


def cautions(report: Report, formats: Formats) -> list[Caution]:
    """Return what a reader must know of the figures, in the notation of the locale; empty: nothing is wrong with them.

    What only the quality of the data tells is left out of a report that was loaded without it.
    """
    return [*_provisional(report, formats), *_unconverted(report, formats), *_of_quality(report, formats)]


def why_held(report: Report) -> str | None:
    """Return why a report must not be mailed, None when it may be; it has to be loaded with its quality."""
    if report.get(QUALITY) is None:
        raise ValueError("a report can't be judged without the quality of its data")
    reasons = [caution.text for caution in cautions(report, Formats()) if caution.holds]
    return one_line(" ".join(reasons).removesuffix("."), _REASON_CHARACTERS) or None


def _provisional(report: Report, formats: Formats) -> Iterator[Caution]:
    if report.provisional:
        has_events = report.data_through is not None and report.data_through >= report.window.start
        words = (
            message(
                "Provisional: the period is not over and its figures will change. They are as of {instant}.",
                instant=formats.instant(report.as_of),
            )
            if has_events
            else message("Provisional: the period is not over and its figures will change. No event of it is in yet.")
        )
        yield Caution(formats.say(words))


def _unconverted(report: Report, formats: Formats) -> Iterator[Caution]:
    if report.unconverted:
        currencies = ", ".join(sorted({row.currency for row in report.unconverted}))
        figures = ", ".join(dict.fromkeys(formats.say(MISSING_FROM[row.figure]) for row in report.unconverted))
        words = message(
            "Incomplete: for want of a rate, amounts in {currencies} are missing from {figures}.",
            currencies=currencies,
            figures=figures,
        )
        yield Caution(
            formats.say(words),
            holds=any(row.figure != _OF_PERIOD_BEFORE for row in report.unconverted),
        )


def _of_quality(report: Report, formats: Formats) -> Iterator[Caution]:
    quality = report.get(QUALITY)
    if quality is None:
        return
    if open_parts := [*_unclosed(quality, formats), *map(formats.say, map(in_words, quality.to_recompute))]:
        words = message("Not up to date: closed figures of the period lack {parts}.", parts=", ".join(open_parts))
        yield Caution(formats.say(words))
    if differing := disagreements(report):
        words = message(
            "Not reconciled: {figures}. See the section on reconciliation.",
            figures=", ".join(map(formats.say, differing)),
        )
        yield Caution(formats.say(words))


def _unclosed(quality: Quality, formats: Formats) -> Iterator[str]:
    for metric in quality.unclosed:
        yield formats.say(message("all of {metric}", metric=metric))
    if quality.open_days is not None:
        first, last = formats.day(quality.open_days.start.date()), formats.day(quality.open_days.last_day)
        events = (
            message("events of {day}", day=first)
            if first == last
            else message("events of {first} to {last}", first=first, last=last)
        )
        yield formats.say(events)
