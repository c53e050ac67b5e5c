"""How figures, periods and judgements look in a sentence.

Belongs here: presentation; an amount is rounded here, once. Does not belong here: messages (``messages``).
"""

from datetime import datetime
from decimal import Decimal

from analytics_pipeline.alerts.catalogue import Metric
from analytics_pipeline.alerts.judge import RuleEvaluation
from analytics_pipeline.alerts.rules import Measure
from analytics_pipeline.currencies import round_money, round_rate, round_ratio, rounded
from analytics_pipeline.metrics.rates import Unit
from analytics_pipeline.windows import Granularity

ALL_COMPANIES = "all companies"


def figure_text(metric: Metric, value: Decimal, currency: str | None) -> str:
    """Return a figure with its unit: ``1,234.50 EUR``, ``12``, ``4.2 %``, ``1.87``."""
    match metric.unit:
        case Unit.MONEY:
            return f"{round_money(value, currency or ''):,f} {currency}"
        case Unit.COUNT:
            return f"{rounded(value, 0):,f}"
        case Unit.PERCENT:
            return f"{round_rate(value):,f} %"
        case Unit.RATIO:
            return f"{round_ratio(value):,f}"


def shown(judgement: RuleEvaluation) -> str:
    """Return what was held against the threshold: ``800.00 EUR``, ``-20.0 % to 800.00 EUR``, ``no data``."""
    metric, latest = judgement.rule.metric, judgement.latest
    if latest.compared is None or latest.figure.value is None:
        return "no data"
    figure = figure_text(metric, latest.figure.value, latest.figure.currency)
    match judgement.rule.threshold.measure:
        case Measure.VALUE:
            return figure
        case Measure.GROWTH:
            return f"{round_rate(latest.compared):+,f} % to {figure}"
        case Measure.DIFFERENCE if metric.unit is Unit.PERCENT:
            return f"{round_rate(latest.compared):+,f} points to {figure}"
        case Measure.DIFFERENCE:
            sign = "+" if latest.compared > 0 else ""
            return f"{sign}{figure_text(metric, latest.compared, latest.figure.currency)} to {figure}"


def period_text(granularity: Granularity, start: datetime) -> str:
    """Return the name of a day or month: ``2026-01-31``, ``2026-01``."""
    return f"{start:%Y-%m-%d}" if granularity is Granularity.DAY else f"{start:%Y-%m}"


def exact(value: Decimal | None) -> str | None:
    """Return all digits of a number, for programs."""
    return None if value is None else f"{value:f}"
