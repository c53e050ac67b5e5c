"""The rates of a subscription business, each declared once: its unit, its names, and what it is made of.

Answers, series, tables, alerts, reports and the API's description read this; the formulas are in
``sql/functions/metrics.sql``, their meaning is in ``docs/DEFINITIONS.md``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, get_type_hints

from analytics_pipeline.languages.wording import Message, message, plural


class Unit(StrEnum):
    """What a figure counts: the reporting currency, heads, per cent, or one amount per another."""

    MONEY = "money"
    COUNT = "count"
    PERCENT = "percent"
    RATIO = "ratio"


def points(number: Decimal, written: str) -> Message:
    """Return in words how far two rates in per cent are apart; ``number`` has the decimals that ``written`` shows."""
    return plural("{number} points", "{number} points", number, number=written)


@dataclass(frozen=True, slots=True)
class Rate:
    """A figure that follows from what moved MRR: its name in reports, and what is said of its column.

    ``example`` stands in the description of answers. ``parts`` are the figures of the answers whose amounts it is made
    from: it is incomplete while one of them lacks a rate of exchange.
    """

    title: str
    description: str
    unit: Unit
    example: float | None
    parts: tuple[str, ...] = ()


_MRR = ("mrr",)
_MOVED_MRR = ("mrr", "mrrMovements")


@dataclass(frozen=True, slots=True)
class SubscriptionRates:
    """The rates of a subscription business over a period, unrounded: per cents, a ratio, an amount, and counts.

    A rate is None without a base, or while an amount of it lacks a rate of exchange; ``lifetime_value`` is one of a
    calendar month only. Their order is that of answers and reports.
    """

    gross_mrr_churn_rate: Annotated[
        Decimal | None,
        Rate(
            message("Gross MRR churn"),
            message("Churn and contraction per MRR at the start, per cent."),
            Unit.PERCENT,
            6.5,
            _MOVED_MRR,
        ),
    ] = None
    net_mrr_churn_rate: Annotated[
        Decimal | None,
        Rate(
            message("Net MRR churn"),
            message("Churn and contraction less expansion and reactivation per MRR at the start, per cent."),
            Unit.PERCENT,
            4.3,
            _MOVED_MRR,
        ),
    ] = None
    gross_revenue_retention: Annotated[
        Decimal | None,
        Rate(
            message("Gross revenue retention"),
            message("What of the MRR at the start is left, per cent."),
            Unit.PERCENT,
            93.5,
            _MOVED_MRR,
        ),
    ] = None
    net_revenue_retention: Annotated[
        Decimal | None,
        Rate(
            message("Net revenue retention"),
            message("The same with the expansion of customers that paid at the start, per cent."),
            Unit.PERCENT,
            95.7,
            _MOVED_MRR,
        ),
    ] = None
    quick_ratio: Annotated[
        Decimal | None,
        Rate(
            message("Quick ratio"),
            message("New, reactivation and expansion per churn and contraction."),
            Unit.RATIO,
            2.33,
            _MOVED_MRR,
        ),
    ] = None
    new_customers: Annotated[
        int, Rate(message("New customers"), message("Customers that paid for the first time."), Unit.COUNT, 3)
    ] = 0
    returned_customers: Annotated[
        int, Rate(message("Returned customers"), message("Customers that came back after an end."), Unit.COUNT, 0)
    ] = 0
    lost_customers: Annotated[int, Rate(message("Lost customers"), message("Customers that ended."), Unit.COUNT, 1)] = 0
    customer_churn_rate: Annotated[
        Decimal | None,
        Rate(
            message("Customer churn"),
            message("Lost customers per customers at the start, per cent."),
            Unit.PERCENT,
            4.3,
        ),
    ] = None
    arpa_growth: Annotated[
        Decimal | None,
        Rate(
            message("Growth of ARPA"),
            message("Growth of the MRR per paying customer since the start, per cent."),
            Unit.PERCENT,
            0.0,
            _MRR,
        ),
    ] = None
    lifetime_value: Annotated[
        Decimal | None,
        Rate(
            message("Lifetime value of a customer"),
            message("MRR per paying customer per customer churn, of months only."),
            Unit.MONEY,
            None,
            _MRR,
        ),
    ] = None
    total_revenue_year_over_year: Annotated[
        Decimal | None,
        Rate(
            message("Total revenue, year over year"),
            message("Growth of total revenue since the year before, per cent."),
            Unit.PERCENT,
            15.5,
        ),
    ] = None
    mrr_year_over_year: Annotated[
        Decimal | None,
        Rate(
            message("MRR, year over year"),
            message("Growth of MRR since the year before, per cent."),
            Unit.PERCENT,
            8.7,
            _MRR,
        ),
    ] = None


RATES: Mapping[str, Rate] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(SubscriptionRates, include_extras=True).items()
}
NO_RATES = SubscriptionRates()


def answer_key(name: str) -> str:
    """Return the name that a figure has in answers: ``arpaGrowth`` of ``arpa_growth``."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
