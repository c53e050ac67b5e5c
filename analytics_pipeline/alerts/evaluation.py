"""Compares figures with rules: what a rule says of one company and one period."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

from analytics_pipeline.alerts.closed_figures import Figure, Figures, certain, periods_before
from analytics_pipeline.alerts.rule_metrics import Metric
from analytics_pipeline.alerts.rules import EACH_COMPANY, Measure, Rule
from analytics_pipeline.currencies import PRECISION, round_money, round_rate, round_ratio, rounded
from analytics_pipeline.languages.wording import message
from analytics_pipeline.metrics.rates import Unit
from analytics_pipeline.windows import Granularity, Window


@dataclass(frozen=True, slots=True)
class Measured:
    """What one period has to compare with the threshold: the figure, or what it gained or lost if the rule says so.

    ``compared`` is what counts, None with the reason (``missing``) where there is nothing to compare.
    """

    figure: Figure
    compared: Decimal | None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class RuleEvaluation:
    """What a rule says of a company (None: all together) as of one period.

    ``fires``: enough of the last periods cross the threshold. ``latest`` is the period itself; without anything to
    compare in it the rule knows no better than before, and the state is no data.
    """

    rule: Rule
    company: str | None
    period: Window
    fires: bool
    crossed: int
    latest: Measured

    @property
    def has_no_data(self) -> bool:
        """Whether the period itself has nothing to compare."""
        return self.latest.compared is None

    @property
    def shown(self) -> str:
        """What was compared with the threshold: ``800.00 EUR``, ``-20.0 % to 800.00 EUR``, ``no data``."""
        metric, latest = self.rule.metric, self.latest
        if latest.compared is None or latest.figure.value is None:
            return "no data"
        figure = figure_text(metric, latest.figure.value, latest.figure.currency)
        match self.rule.threshold.measure:
            case Measure.VALUE:
                return figure
            case Measure.GROWTH:
                return f"{round_rate(latest.compared):+,f} % to {figure}"
            case Measure.DIFFERENCE if metric.unit is Unit.PERCENT:
                return f"{round_rate(latest.compared):+,f} points to {figure}"
            case Measure.DIFFERENCE:
                sign = "+" if latest.compared > 0 else ""
                return f"{sign}{figure_text(metric, latest.compared, latest.figure.currency)} to {figure}"


def figure_text(metric: Metric, value: Decimal, currency: str | None) -> str:
    """Return a figure with its unit: ``1,234.50 EUR``, ``12``, ``4.2 %``, ``1.87``."""
    unit = {Unit.MONEY: f" {currency}", Unit.PERCENT: " %"}.get(metric.unit, "")
    return f"{rounded_figure(metric, value, currency):,f}{unit}"


def rounded_figure(metric: Metric, value: Decimal, currency: str | None) -> Decimal:
    """Return a figure with the digits that it is shown with."""
    match metric.unit:
        case Unit.MONEY:
            return round_money(value, currency or "")
        case Unit.COUNT:
            return rounded(value, 0)
        case Unit.PERCENT:
            return round_rate(value)
        case Unit.RATIO:
            return round_ratio(value)


def look_back(rule: Rule) -> int:
    """Return how many periods before the evaluated one a rule needs."""
    return rule.periods.of - 1 + (rule.threshold.measure is not Measure.VALUE)


def evaluate_periods(rule: Rule, figures: Figures, periods: Sequence[Window]) -> Iterator[RuleEvaluation]:
    """Evaluate closed periods: of the rule's company, of all together, or of each company since its first figures."""
    # Counted once, and not for every company.
    starts = {period: _last_periods(rule, period) for period in periods}
    if rule.company != EACH_COMPANY:
        yield from _evaluate(rule, figures, rule.company, starts)
        return
    for company, since in figures.since.items():
        yield from _evaluate(rule, figures, company, {p: last for p, last in starts.items() if p.start >= since})


def _last_periods(rule: Rule, period: Window) -> list[datetime]:
    return [periods_before(rule.granularity, period.start, count) for count in range(rule.periods.of)]


def _evaluate(
    rule: Rule, figures: Figures, company: str | None, starts: Mapping[Window, Sequence[datetime]]
) -> Iterator[RuleEvaluation]:
    """Evaluate periods by the last ones up to each; of these, ones without data count as not crossing."""
    known: dict[datetime, Measured] = {}
    for period, last in starts.items():
        for start in last:
            if start not in known:
                known[start] = _measure(rule, figures, company, start)
        crossed = sum(_crosses(rule, known[start]) for start in last)
        yield RuleEvaluation(rule, company, period, crossed >= rule.periods.needed, crossed, known[period.start])


def _crosses(rule: Rule, measured: Measured) -> bool:
    return measured.compared is not None and rule.comparison.holds(measured.compared, rule.threshold.amount)


def _measure(rule: Rule, figures: Figures, company: str | None, start: datetime) -> Measured:
    figure = figures.of(rule.metric, company, start)
    threshold = rule.threshold
    if figure.value is None:
        return Measured(figure, None, figure.missing)
    if threshold.measure is not Measure.GROWTH and figure.currency not in {None, threshold.unit}:
        differs = message("it is in {currency}, the rule in {unit}", currency=figure.currency, unit=threshold.unit)
        return Measured(figure, None, differs)
    if threshold.measure is Measure.VALUE:
        return Measured(figure, figure.value)
    before = figures.of(rule.metric, company, periods_before(rule.granularity, start, 1))
    return _measure_change(rule, figure, figure.value, before)


def _measure_change(rule: Rule, figure: Figure, value: Decimal, before: Figure) -> Measured:
    is_day = rule.granularity is Granularity.DAY
    if before.value is None:
        why = before.missing
        missing = message("the day before: {why}", why=why) if is_day else message("the month before: {why}", why=why)
        return Measured(figure, None, missing)
    if before.currency != figure.currency:
        unit = before.currency
        differs = (
            message("the day before is in {currency}", currency=unit)
            if is_day
            else message("the month before is in {currency}", currency=unit)
        )
        return Measured(figure, None, differs)
    with localcontext(prec=PRECISION):
        gained = value - before.value
        if rule.threshold.measure is Measure.DIFFERENCE:
            return Measured(figure, gained)
        if before.value <= 0:
            no_base = (
                message("there is no rate of change from the day before, which is not above zero")
                if is_day
                else message("there is no rate of change from the month before, which is not above zero")
            )
            return Measured(figure, None, no_base)
        return Measured(figure, certain(gained / before.value * 100))
