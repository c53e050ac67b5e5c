"""What a reader of a report must know of its data: the one evaluation of a period, for page one, gate and mail.

Nothing in it counts how often something was evaluated: the same data give the same words.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from analytics_pipeline.messages.message import one_line
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.quality import QUALITY, Quality
from analytics_pipeline.reports.reconciliation import disagreements
from analytics_pipeline.reports.report import Report

MISSING_FROM = {
    "totalRevenue": "Total revenue",
    "refunds": "Refunds",
    "invoiced": "Invoiced",
    "revenueGrowth": "Total revenue of the period before",
    "mrr": "MRR at the end",
    "mrrMovements": "What moved MRR",
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
    return [*_provisional(report, formats), *_unconverted(report), *_of_quality(report, formats)]


def why_held(report: Report) -> str | None:
    """Return why a report must not be mailed, None when it may be; it has to be loaded with its quality."""
    if report.get(QUALITY) is None:
        raise ValueError("a report can't be judged without the quality of its data")
    reasons = [caution.text for caution in cautions(report, Formats()) if caution.holds]
    return one_line(" ".join(reasons).removesuffix("."), _REASON_CHARACTERS) or None


def _provisional(report: Report, formats: Formats) -> Iterator[Caution]:
    if report.provisional:
        has_events = report.data_through is not None and report.data_through >= report.window.start
        as_of = f"They are as of {formats.instant(report.as_of)}" if has_events else "No event of it is in yet"
        yield Caution(f"Provisional: the period is not over and its figures will change. {as_of}.")


def _unconverted(report: Report) -> Iterator[Caution]:
    if report.unconverted:
        currencies = ", ".join(sorted({row.currency for row in report.unconverted}))
        figures = ", ".join(dict.fromkeys(MISSING_FROM[row.figure] for row in report.unconverted))
        yield Caution(
            f"Incomplete: for want of a rate, amounts in {currencies} are missing from {figures}.",
            holds=any(row.figure != _OF_PERIOD_BEFORE for row in report.unconverted),
        )


def _of_quality(report: Report, formats: Formats) -> Iterator[Caution]:
    quality = report.get(QUALITY)
    if quality is None:
        return
    if open_parts := [*_unclosed(quality, formats), *quality.to_recompute]:
        yield Caution(f"Not up to date: closed figures of the period lack {', '.join(open_parts)}.")
    if differing := disagreements(report):
        yield Caution(f"Not reconciled: {', '.join(differing)}. See the section on reconciliation.")


def _unclosed(quality: Quality, formats: Formats) -> Iterator[str]:
    yield from (f"all of {metric}" for metric in quality.unclosed)
    if quality.open_days is not None:
        first, last = formats.day(quality.open_days.start.date()), formats.day(quality.open_days.last_day)
        yield f"events of {first}" + ("" if first == last else f" to {last}")
