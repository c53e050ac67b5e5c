"""What moved in the period: three sentences, and total revenue over thirteen months as the one chart beside them.

Every number in a sentence is one that another section shows, in the same digits.
"""

from collections.abc import Sequence

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.currencies import percent
from analytics_pipeline.metrics.revenue import OF_TOTAL_REVENUE
from analytics_pipeline.metrics.rounding import ShownMovements, round_movements
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.months import MONTHS
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections import figures
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.sections.trends import trend_chart
from analytics_pipeline.reports.tabular import Kind, Table, Value, name, text

_CHART_HEIGHT = 170.0
# A chart with less is not read; it then takes the next page with the sentences.
_LEAST_CHART_HEIGHT = 90.0
_ABOVE_CHART = 8.0
_OF_MRR = {"mrr", "mrrMovements"}
_AS_KNOWN = ", as far as rates of exchange are known"
_GAINS = {"new": "new", "reactivation": "reactivation", "expansion": "expansion"}
_LOSSES = {"contraction": "contraction", "churn": "churn"}
_SIGNED = {"fx": "rates of exchange", "rounding": "rounding"}


def tables(report: Report) -> list[Table]:
    """Return the sentences as rows, their numbers in the notation of the default locale."""
    columns = (name("name"), text("sentence", "Sentence"))
    return [Table("summary", "What moved", columns, sentences(report, Formats()))]


def sentences(report: Report, formats: Formats) -> list[tuple[str, str]]:
    """Return what moved revenue, MRR and customers: a name and a sentence each."""
    clauses = {
        "revenue": _revenue(report, formats),
        "mrr": _mrr(report, formats),
        "customers": _customers(report, formats),
    }
    return [(key, _sentence(report, clause)) for key, clause in clauses.items()]


def pages(content: Content) -> list[Flowable]:
    """Return the sentences and the chart, which takes what the page has left."""
    report, sheet = content.report, content.sheet
    said: list[Flowable] = [
        sheet.say(sentence, sheet.styles.sentence) for _, sentence in sentences(report, sheet.formats)
    ]
    trend = (f"Total revenue by month, {report.currency}", [month.total_revenue for month in report[MONTHS]])
    chart = trend_chart(content, trend, (sheet.width, _CHART_HEIGHT), least_height=_LEAST_CHART_HEIGHT)
    said.append(Spacer(0, _ABOVE_CHART))
    return [*content.heading("What moved", content.height(said) + _LEAST_CHART_HEIGHT), *said, chart]


def _sentence(report: Report, clause: str) -> str:
    return f"So far, {clause}." if report.provisional else f"{clause[0].upper()}{clause[1:]}."


def _before(report: Report) -> str:
    return "the month before" if report.is_month else "the period before"


def _revenue(report: Report, formats: Formats) -> str:
    figure, before = figures.total_revenue(report), _before(report)
    this, previous = (f"{_number(formats, amount)} {report.currency}" for amount in (figure.value, figure.previous))
    lacking = report.revenue.incomplete | report.revenue_before.incomplete
    known = "" if lacking.isdisjoint(OF_TOTAL_REVENUE) else _AS_KNOWN
    changed = percent(figure.change)
    if changed:
        moved = "rose" if changed > 0 else "fell"
        return f"revenue {moved} by {formats.percent(abs(changed))} to {this}, from {previous} in {before}{known}"
    if figure.value == figure.previous:
        return f"revenue was {this}, as in {before}{known}"
    return f"revenue was {this}, after {previous} in {before}{known}"


def _mrr(report: Report, formats: Formats) -> str:
    shown = round_movements(report.movements, report.currency)
    is_whole = _OF_MRR.isdisjoint(row.figure for row in report.unconverted)
    known = "" if is_whole else _AS_KNOWN
    parts = _parts(shown, formats)
    what = f": {parts}" if parts else ""
    end = f"{_number(formats, shown.end)} {report.currency}"
    if shown.start == shown.end:
        return f"MRR stayed at {end}{known}{what}"
    moved = "grew" if shown.end > shown.start else "fell"
    # While a balance is left out, the change of MRR is that of other amounts.
    changed = percent(figures.mrr(report).change) if is_whole else None
    by = f" by {formats.percent(abs(changed))}," if changed else ""
    return f"MRR {moved}{by} from {_number(formats, shown.start)} to {end}{known}{what}"


def _parts(shown: ShownMovements, formats: Formats) -> str:
    """Return what moved MRR, losses as the positive numbers they are; what is nothing is left out."""

    def listed(names: dict[str, str]) -> str:
        amounts = {words: getattr(shown, field) for field, words in names.items()}
        return _listing([f"{words} {_number(formats, amount)}" for words, amount in amounts.items() if amount])

    moved = ", less ".join(part for part in (listed(_GAINS), listed(_LOSSES)) if part)
    return "; ".join(part for part in (moved, listed(_SIGNED)) if part)


def _customers(report: Report, formats: Formats) -> str:
    rates, paying = report.rates, report.revenue.figures.paying_customers
    left, returned, new = rates.lost_customers, rates.returned_customers, rates.new_customers
    if left or returned or new:
        who = f"{_number(formats, left)} customers" if left > 1 else "1 customer" if left else "no customer"
        moved = f"{who} left, {_some(formats, returned)} came back and {_some(formats, new)} {_were(new)} new"
    else:
        moved = "no customer came, left or came back"
    # An unfinished period has no end yet.
    are, then = (("are" if paying > 1 else "is"), "") if report.provisional else (_were(paying), " at the end")
    paying_before = report.revenue_before.figures.paying_customers
    compared = "as" if paying == paying_before else _some(formats, paying_before)
    known = "" if _OF_MRR.isdisjoint(row.figure for row in report.unconverted) else _AS_KNOWN
    return f"{moved}; {_some(formats, paying)} {are} paying{then}, {compared} at the end of {_before(report)}{known}"


def _number(formats: Formats, value: Value) -> str:
    return formats.cell(value, Kind.NUMBER)


def _some(formats: Formats, count: int) -> str:
    return _number(formats, count) if count else "none"


def _were(count: int) -> str:
    return "were" if count > 1 else "was"


def _listing(words: Sequence[str]) -> str:
    """Return words as a list: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


SECTION = Section("summary", tables, pages, parts=[MONTHS])
