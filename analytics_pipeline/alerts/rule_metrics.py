"""The figures that rules may name: the columns of the metric tables, each with its unit.

What they mean: ``docs/DEFINITIONS.md``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from analytics_pipeline.languages.wording import message
from analytics_pipeline.metrics.rates import RATES, Unit
from analytics_pipeline.metrics.revenue import OF_TOTAL_REVENUE
from analytics_pipeline.metrics.signoffs import KEPT_FIGURES
from analytics_pipeline.metrics.tables import MRR_MOVEMENTS, REVENUE_METRICS, USER_METRICS, MetricTable

_TITLES = {
    **{(figure.metric, figure.column): figure.label for figure in KEPT_FIGURES},
    (REVENUE_METRICS.metric, "previous_revenue"): message("Total revenue of the period before"),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of a metric table.

    ``parts`` are the figures of the answers whose amounts it is made from: it is incomplete while one of them lacks
    a rate of exchange. A ``ratio`` has no value without a base; everything else is zero without events.
    """

    name: str
    table: MetricTable
    unit: Unit
    parts: tuple[str, ...] = ()
    ratio: bool = False

    @property
    def description(self) -> str:
        """What it is, in a sentence."""
        return self.table.columns[self.name].description

    @property
    def title(self) -> str:
        """What people call it."""
        return _TITLES[self.table.metric, self.name]


def _of(
    table: MetricTable, unit: Unit, figures: Mapping[str, tuple[str, ...]], *, ratio: bool = False
) -> dict[str, Metric]:
    return {name: Metric(name, table, unit, parts, ratio) for name, parts in figures.items()}


_MOVED = ("mrrMovements",)

METRICS: Mapping[str, Metric] = {
    **_of(
        REVENUE_METRICS,
        Unit.MONEY,
        {
            "total_revenue": OF_TOTAL_REVENUE,
            "previous_revenue": ("revenueGrowth",),
            "invoiced": ("invoiced",),
            "refunds": ("refunds",),
            "mrr": ("mrr",),
            "arr": ("mrr",),
        },
    ),
    **_of(
        REVENUE_METRICS,
        Unit.MONEY,
        {"arpa": ("mrr",), "average_revenue_per_user": OF_TOTAL_REVENUE},
        ratio=True,
    ),
    **_of(REVENUE_METRICS, Unit.PERCENT, {"revenue_growth": (*OF_TOTAL_REVENUE, "revenueGrowth")}, ratio=True),
    **_of(REVENUE_METRICS, Unit.COUNT, {"paying_customers": ()}),
    **_of(
        MRR_MOVEMENTS,
        Unit.MONEY,
        {
            "start_mrr": _MOVED,
            "new": _MOVED,
            "reactivation": _MOVED,
            "expansion": _MOVED,
            "contraction": _MOVED,
            "churn": _MOVED,
            "fx": ("mrr", *_MOVED),
            "end_mrr": ("mrr", *_MOVED),
        },
    ),
    **{
        name: Metric(name, MRR_MOVEMENTS, rate.unit, rate.parts, ratio=rate.unit is not Unit.COUNT)
        for name, rate in RATES.items()
    },
    # Also a column of analytics_revenue_metrics, where it is the same figure.
    **_of(
        USER_METRICS,
        Unit.COUNT,
        dict.fromkeys(
            ("total_users", "active_users", "new_users", "churned_users", "users_at_start", "active_before"), ()
        ),
    ),
    **_of(
        USER_METRICS,
        Unit.PERCENT,
        dict.fromkeys(("churn_rate", "active_user_rate", "churn_rate_of_start"), ()),
        ratio=True,
    ),
}
