"""What moved in the period: three sentences, and total revenue over thirteen months as the one chart beside them.

Every number in a sentence is one that another section shows, in the same digits.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial

from reportlab.platypus import Flowable, Spacer

from analytics_pipeline.currencies import percent
from analytics_pipeline.languages.wording import Message, message, plural
from analytics_pipeline.metrics.revenue import OF_TOTAL_REVENUE
from analytics_pipeline.metrics.rounding import ShownMovements, round_movements
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.formats import Formats, InWords
from analytics_pipeline.reports.months import MONTHS
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections import figures
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.sections.trends import trend_chart
from analytics_pipeline.reports.tabular import Kind, Table, Value, name, text
from analytics_pipeline.text import capitalised

_CHART_HEIGHT = 170.0
# A chart with less is not read; it then takes the next page with the sentences.
_LEAST_CHART_HEIGHT = 90.0
_ABOVE_CHART = 8.0
_OF_MRR = {"mrr", "mrrMovements"}

# A sentence without its end, in the notation of a locale.
Clause = Callable[[Report, Formats], Message]


def tables(report: Report) -> list[Table]:
    """Return the sentences as rows; as such their numbers are in the notation of the default locale."""
    columns = (name("name"), text("sentence", message("Sentence")))
    rows = [(key, InWords(partial(_sentence, report, clause))) for key, clause in _CLAUSES.items()]
    return [Table("summary", message("What moved"), columns, rows)]


def sentences(report: Report, formats: Formats) -> list[tuple[str, str]]:
    """Return what moved revenue, MRR and customers: a name and a sentence each."""
    return [(key, _sentence(report, clause, formats)) for key, clause in _CLAUSES.items()]


def pages(content: Content) -> list[Flowable]:
    """Return the sentences and the chart, which takes what the page has left."""
    report, sheet = content.report, content.sheet
    said: list[Flowable] = [
        sheet.say(sentence, sheet.styles.sentence) for _, sentence in sentences(report, sheet.formats)
    ]
    title = message("Total revenue by month, {currency}", currency=report.currency)
    trend = (title, [month.total_revenue for month in report[MONTHS]])
    chart = trend_chart(content, trend, (sheet.width, _CHART_HEIGHT), least_height=_LEAST_CHART_HEIGHT)
    said.append(Spacer(0, _ABOVE_CHART))
    return [*content.heading(message("What moved"), content.height(said) + _LEAST_CHART_HEIGHT), *said, chart]


def _sentence(report: Report, clause: Clause, formats: Formats) -> str:
    said = formats.say(clause(report, formats))
    if report.provisional:
        return formats.say(message("So far, {clause}.", clause=said))
    return f"{capitalised(said)}."


def _revenue(report: Report, formats: Formats) -> Message:
    figure = figures.total_revenue(report)
    this, previous = (f"{_number(formats, amount)} {report.currency}" for amount in (figure.value, figure.previous))
    lacking = report.revenue.incomplete | report.revenue_before.incomplete
    return _as_known(_revenue_moved(report, formats, this, previous), lacking.isdisjoint(OF_TOTAL_REVENUE))


def _revenue_moved(report: Report, formats: Formats, this: str, previous: str) -> Message:
    figure, month = figures.total_revenue(report), report.is_month
    changed = percent(figure.change)
    if changed:
        moved = {"percent": formats.percent(abs(changed)), "this": this, "previous": previous}
        if changed > 0:
            return (
                message("revenue rose by {percent} to {this}, from {previous} in the month before", **moved)
                if month
                else message("revenue rose by {percent} to {this}, from {previous} in the period before", **moved)
            )
        return (
            message("revenue fell by {percent} to {this}, from {previous} in the month before", **moved)
            if month
            else message("revenue fell by {percent} to {this}, from {previous} in the period before", **moved)
        )
    if figure.value == figure.previous:
        return (
            message("revenue was {this}, as in the month before", this=this)
            if month
            else message("revenue was {this}, as in the period before", this=this)
        )
    return (
        message("revenue was {this}, after {previous} in the month before", this=this, previous=previous)
        if month
        else message("revenue was {this}, after {previous} in the period before", this=this, previous=previous)
    )


def _as_known(said: Message, is_whole: bool) -> Message:  # noqa: FBT001 - of the two there are, no more
    return said if is_whole else message("{clause}, as far as rates of exchange are known", clause=said)


def _mrr(report: Report, formats: Formats) -> Message:
    shown = round_movements(report.movements, report.currency)
    is_whole = _OF_MRR.isdisjoint(row.figure for row in report.unconverted)
    moved = _as_known(_mrr_moved(report, formats, shown, is_whole=is_whole), is_whole)
    parts = _parts(shown, formats)
    return message("{clause}: {parts}", clause=moved, parts=parts) if parts else moved


def _mrr_moved(report: Report, formats: Formats, shown: ShownMovements, *, is_whole: bool) -> Message:
    end = f"{_number(formats, shown.end)} {report.currency}"
    if shown.start == shown.end:
        return message("MRR stayed at {end}", end=end)
    start = _number(formats, shown.start)
    # While a balance is left out, the change of MRR is that of other amounts.
    changed = percent(figures.mrr(report).change) if is_whole else None
    if not changed:
        return (
            message("MRR grew from {start} to {end}", start=start, end=end)
            if shown.end > shown.start
            else message("MRR fell from {start} to {end}", start=start, end=end)
        )
    by = formats.percent(abs(changed))
    return (
        message("MRR grew by {percent}, from {start} to {end}", percent=by, start=start, end=end)
        if shown.end > shown.start
        else message("MRR fell by {percent}, from {start} to {end}", percent=by, start=start, end=end)
    )


def _parts(shown: ShownMovements, formats: Formats) -> str:
    """Return what moved MRR, losses as the positive numbers they are; what is nothing is left out."""

    def listed(*parts: tuple[Decimal, Callable[[str], Message]]) -> str:
        return _listing([formats.say(words(_number(formats, amount))) for amount, words in parts if amount], formats)

    gains = listed(
        (shown.new, lambda amount: message("new {amount}", amount=amount)),
        (shown.reactivation, lambda amount: message("reactivation {amount}", amount=amount)),
        (shown.expansion, lambda amount: message("expansion {amount}", amount=amount)),
    )
    losses = listed(
        (shown.contraction, lambda amount: message("contraction {amount}", amount=amount)),
        (shown.churn, lambda amount: message("churn {amount}", amount=amount)),
    )
    others = listed(
        (shown.fx, lambda amount: message("rates of exchange {amount}", amount=amount)),
        (shown.rounding, lambda amount: message("rounding {amount}", amount=amount)),
    )
    moved = gains or losses
    if gains and losses:
        moved = formats.say(message("{gains}, less {losses}", gains=gains, losses=losses))
    return "; ".join(part for part in (moved, others) if part)


def _customers(report: Report, formats: Formats) -> Message:
    said = message(
        "{moved}; {paying}, {compared}",
        moved=_customers_moved(report, formats),
        paying=_paying(report, formats),
        compared=_paying_before(report, formats),
    )
    return _as_known(said, _OF_MRR.isdisjoint(row.figure for row in report.unconverted))


def _customers_moved(report: Report, formats: Formats) -> Message:
    rates = report.rates
    left, returned, new = rates.lost_customers, rates.returned_customers, rates.new_customers
    if not (left or returned or new):
        return message("no customer came, left or came back")
    return message(
        "{left}, {returned} and {new}",
        left=plural("{number} customer left", "{number} customers left", left, number=_number(formats, left))
        if left
        else message("no customer left"),
        returned=plural("{number} came back", "{number} came back", returned, number=_number(formats, returned))
        if returned
        else message("none came back"),
        new=plural("{number} was new", "{number} were new", new, number=_number(formats, new))
        if new
        else message("none was new"),
    )


def _paying(report: Report, formats: Formats) -> Message:
    paying = report.revenue.figures.paying_customers
    number = _number(formats, paying)
    # An unfinished period has no end yet.
    if report.provisional:
        return (
            plural("{number} is paying", "{number} are paying", paying, number=number)
            if paying
            else message("none is paying")
        )
    return (
        plural("{number} was paying at the end", "{number} were paying at the end", paying, number=number)
        if paying
        else message("none was paying at the end")
    )


def _paying_before(report: Report, formats: Formats) -> Message:
    paying, before = report.revenue.figures.paying_customers, report.revenue_before.figures.paying_customers
    if paying == before:
        return (
            message("as at the end of the month before")
            if report.is_month
            else message("as at the end of the period before")
        )
    if not before:
        return (
            message("none at the end of the month before")
            if report.is_month
            else message("none at the end of the period before")
        )
    number = _number(formats, before)
    return (
        message("{number} at the end of the month before", number=number)
        if report.is_month
        else message("{number} at the end of the period before", number=number)
    )


def _number(formats: Formats, value: Value) -> str:
    return formats.cell(value, Kind.NUMBER)


def _listing(words: Sequence[str], formats: Formats) -> str:
    """Return words as a list: ``a, b and c``."""
    if len(words) < 2:  # noqa: PLR2004 - a list has two ends
        return "".join(words)
    return formats.say(message("{others} and {last}", others=", ".join(words[:-1]), last=words[-1]))


_CLAUSES: Mapping[str, Clause] = {"revenue": _revenue, "mrr": _mrr, "customers": _customers}
SECTION = Section("summary", tables, pages, parts=[MONTHS])
