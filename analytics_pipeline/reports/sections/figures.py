"""Figures that several sections show, each with that of the period before."""

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import TypeVar

from analytics_pipeline.currencies import money, percent, ratio
from analytics_pipeline.languages.wording import message
from analytics_pipeline.metrics.rates import RATES, Unit, answer_key
from analytics_pipeline.metrics.revenue import OF_TOTAL_REVENUE, RevenueMetrics
from analytics_pipeline.metrics.users import UserMetrics
from analytics_pipeline.reports.figures import change
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.section import Figure

T = TypeVar("T")
FigureOf = Callable[[Report], Figure]


def _amount(
    key: str, name: str, read: Callable[[RevenueMetrics], Decimal | None], made_of: Collection[str]
) -> FigureOf:
    """Return an amount of the revenue answer; without a change while a figure it is made of lacks amounts in either."""

    def figure(report: Report) -> Figure:
        this, before = read(report.revenue.figures), read(report.revenue_before.figures)
        comparable = (report.revenue.incomplete | report.revenue_before.incomplete).isdisjoint(made_of)
        changed = change(this, before) if comparable and this is not None and before is not None else None
        return Figure(key, name, report.currency, money(this, report.currency), money(before, report.currency), changed)

    return figure


def _users(key: str, name: str, read: Callable[[UserMetrics], int]) -> FigureOf:
    """Return a number of users."""

    def figure(report: Report) -> Figure:
        this, before = _read(report.users, read), _read(report.users_before, read)
        return Figure(key, name, "", this, before, None if this is None or before is None else change(this, before))

    return figure


def _user_rate(key: str, name: str, read: Callable[[UserMetrics], Decimal | None]) -> FigureOf:
    """Return a rate of users, which has no change of its own."""

    def figure(report: Report) -> Figure:
        return Figure(key, name, "%", percent(_read(report.users, read)), percent(_read(report.users_before, read)))

    return figure


def rate_of_subscriptions(name: str) -> FigureOf:
    """Return a rate of the subscriptions, which has no change of its own."""
    rate = RATES[name]

    def figure(report: Report) -> Figure:
        this, before = getattr(report.rates, name), getattr(report.rates_before, name)
        match rate.unit:
            case Unit.PERCENT:
                return Figure(answer_key(name), rate.title, "%", percent(this), percent(before))
            case Unit.RATIO:
                return Figure(answer_key(name), rate.title, "", ratio(this), ratio(before))
            case Unit.MONEY:
                currency = report.currency
                return Figure(answer_key(name), rate.title, currency, money(this, currency), money(before, currency))
            case Unit.COUNT:
                return Figure(answer_key(name), rate.title, "", this, before)

    return figure


def _read(users: UserMetrics | None, read: Callable[[UserMetrics], T]) -> T | None:
    return None if users is None else read(users)


def total_revenue(report: Report) -> Figure:
    """Return payments minus refunds, with the growth that the answer has."""
    this, before, currency = report.revenue.figures, report.revenue_before.figures, report.currency
    return Figure(
        "totalRevenue",
        message("Total revenue"),
        currency,
        money(this.total_revenue, currency),
        money(before.total_revenue, currency),
        this.revenue_growth,
    )


def paying_customers(report: Report) -> Figure:
    """Return the customers with an MRR above zero at the end."""
    this, before = report.revenue.figures.paying_customers, report.revenue_before.figures.paying_customers
    return Figure("payingCustomers", message("Paying customers"), "", this, before, change(this, before))


invoiced = _amount("invoiced", message("Invoiced"), lambda revenue: revenue.invoiced, ("invoiced",))
refunds = _amount("refunds", message("Refunds"), lambda revenue: revenue.refunds, ("refunds",))
average_revenue_per_user = _amount(
    "averageRevenuePerUser",
    message("Average revenue per user"),
    lambda revenue: revenue.average_revenue_per_user,
    OF_TOTAL_REVENUE,
)
mrr = _amount("mrr", message("MRR"), lambda revenue: revenue.mrr, ("mrr",))
arr = _amount("arr", message("ARR"), lambda revenue: revenue.arr, ("mrr",))
arpa = _amount("arpa", message("ARPA"), lambda revenue: revenue.arpa, ("mrr",))
total_users = _users("totalUsers", message("Total users"), lambda users: users.total_users)
active_users = _users("activeUsers", message("Active users"), lambda users: users.active_users)
new_users = _users("newUsers", message("New users"), lambda users: users.new_users)
churned_users = _users("churnedUsers", message("Churned users"), lambda users: users.churned_users)
users_at_start = _users("usersAtStart", message("Users at the start"), lambda users: users.users_at_start)
active_before = _users("activeBefore", message("Active in the period before"), lambda users: users.active_before)
active_user_rate = _user_rate("activeUserRate", message("Active user rate"), lambda users: users.active_user_rate)
churn_rate = _user_rate("churnRate", message("Churn rate"), lambda users: users.churn_rate)
churn_rate_of_start = _user_rate(
    "churnRateOfStart", message("Churn rate of those active before"), lambda users: users.churn_rate_of_start
)
