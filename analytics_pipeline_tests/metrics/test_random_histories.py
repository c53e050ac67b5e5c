"""Users and converted amounts of random histories and periods, counted again in Python."""

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_pipeline.asset_names import USERS
from analytics_pipeline.events.bulk_load import EventLoader
from analytics_pipeline.events.model import AnalyticsEvent, check_event
from analytics_pipeline.metrics.revenue import all_unconverted, mrr_figures, revenue_figures
from analytics_pipeline.metrics.tables import USER_METRICS, close_metric, stale_periods
from analytics_pipeline.metrics.users import UserMetrics, update_users, user_figures
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.metrics.closing import days
from analytics_pipeline_tests.metrics.reference_users import users_of
from analytics_pipeline_tests.metrics.subscription_changes import EXACT, EXAMPLES, clear, rate

COMPANY = "acme"
SPAN = days("2025-01-01", "2025-03-31")
modest = settings(
    deadline=None,
    max_examples=25 * EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

instants = st.builds(
    lambda day, at: datetime.combine(date(2025, 1, 1) + timedelta(days=day), at, UTC),
    st.integers(0, 75),
    st.sampled_from([time(0), time(12), time(23, 59, 59, 999999)]),
)
months = st.sampled_from(list(SPAN.split(Granularity.MONTH)))
ranges = st.builds(
    lambda first, length: days(f"{first}", f"{first + timedelta(days=length)}"),
    st.dates(date(2025, 1, 1), date(2025, 3, 10)),
    st.integers(0, 20),
)
# Of no calendar: from any instant on, for any number of hours.
odd = st.builds(
    lambda start, hours: Window(start, start + timedelta(hours=hours)),
    instants,
    st.sampled_from([1, 23, 25, 300, 1600]),
)


class Act(NamedTuple):
    """Something a user does, or that is done for one."""

    at: datetime
    what: str
    user: str | None
    value: str
    currency: str

    def as_event(self, number: int) -> AnalyticsEvent:
        category = {"payment": "revenue", "invoice": "billing", "user": "user_activity", "crypto": "crypto"}
        value = Decimal(self.value)
        if self.what in ("payment.refunded", "invoice.credited"):
            value = -value
        event = AnalyticsEvent(
            UUID(int=number),
            self.at,
            COMPANY,
            self.user,
            self.what,
            category[self.what.partition(".")[0]],
            value,
            # What is bought for a currency is an asset.
            "BTC" if self.what.startswith("crypto.") else self.currency,
            {},
        )
        check_event(event)
        return event


KINDS = ["payment.received", "payment.refunded", "invoice.created", "invoice.credited"]
KINDS += ["user.login", "user.deleted", "crypto.received"]
acts = st.builds(
    Act,
    at=instants,
    what=st.sampled_from(KINDS),
    user=st.sampled_from(["u1", "u2", "u3", "u4", None]),
    value=st.sampled_from(["0", "10", "19.99", "0.333333333333333333", "1000000.01"]),
    currency=st.sampled_from(["EUR", "USD", "CHF", "BTC"]),
)


def before(window: Window) -> Window:
    """The period before: a month with the month before, other days with as many days."""
    if window in list(SPAN.split(Granularity.MONTH)):
        return Window.of_month((window.start - timedelta(days=1)).date())
    return Window(window.start - (window.end - window.start), window.start)


def within(events: list[AnalyticsEvent], window: Window) -> list[AnalyticsEvent]:
    return [event for event in events if window.start <= event.timestamp < window.end]


def rounded(users: UserMetrics) -> list[object]:
    values = [getattr(users, name) for name in UserMetrics.__slots__]
    return [round(value, 20) if isinstance(value, Decimal) else value for value in values]


@given(
    history=st.lists(acts, min_size=1, max_size=20),
    late=st.lists(acts, max_size=5),
    windows=st.lists(months | ranges, min_size=1, max_size=3),
    data=st.data(),
)
@modest
def test_users_of_any_period_are_those_of_the_definitions(
    rates: Connection, history: list[Act], late: list[Act], windows: list[Window], data: st.DataObject
) -> None:
    """Before closing, while months are closed one by one, and again once events were removed and others came late."""
    clear(rates)
    _forget_users(rates)
    events = [act.as_event(number) for number, act in enumerate(history, start=1)]
    EventLoader(rates).load(events)

    def wanted(remaining: list[AnalyticsEvent]) -> list[list[object]]:
        return [rounded(users_of(remaining, window, before(window))) for window in windows]

    def answered() -> list[list[object]]:
        return [rounded(each.metrics) for each in user_figures(rates, [(COMPANY, window) for window in windows])]

    assert answered() == wanted(events)
    for month in data.draw(st.permutations(list(SPAN.split(Granularity.MONTH)))):
        update_users(rates, month)
        assert answered() == wanted(events)
    # Settled, so that a second closing has nothing to do.
    assert [update_users(rates, month) for month in SPAN.split(Granularity.MONTH)] == [0, 0, 0]

    removed = data.draw(st.lists(st.sampled_from(events), unique_by=lambda event: event.event_id))
    for event in removed:
        rates.execute("DELETE FROM analytics_events WHERE event_id = %s", [event.event_id])
    added = [act.as_event(number) for number, act in enumerate(late, start=len(events) + 1)]
    EventLoader(rates).load(added)
    remaining = [event for event in events if event not in removed] + added
    touched = {Granularity.DAY.floor(event.timestamp) for event in (*removed, *added)}
    for start in data.draw(st.permutations(sorted(touched))):
        update_users(rates, Window(start, Granularity.DAY.next(start)))
    assert answered() == wanted(remaining)
    settled = _stored_users(rates)
    rates.execute("DELETE FROM analytics_closed_windows")
    _forget_users(rates)
    update_users(rates, SPAN)
    assert _stored_users(rates) == settled, "the tables are what the events give, whatever was stored before"


@given(history=st.lists(acts, min_size=1, max_size=15), late=st.lists(acts, max_size=3), data=st.data())
@modest
def test_what_changes_of_users_makes_the_figures_it_concerns_stale(
    rates: Connection, history: list[Act], late: list[Act], data: st.DataObject
) -> None:
    clear(rates)
    _forget_users(rates)
    rates.execute("DELETE FROM analytics_user_metrics")
    events = [act.as_event(number) for number, act in enumerate(history, start=1)]
    EventLoader(rates).load(events)
    update_users(rates, SPAN)
    close_metric(rates, USER_METRICS, Granularity.MONTH, SPAN, "EUR")
    week = data.draw(st.sampled_from([SPAN.start + timedelta(days=7 * number) for number in range(11)]))
    days_closed = Window(week, week + timedelta(days=7))
    close_metric(rates, USER_METRICS, Granularity.DAY, days_closed, "EUR")
    removed = data.draw(st.lists(st.sampled_from(events), unique_by=lambda event: event.event_id, max_size=3))
    for event in removed:
        rates.execute("DELETE FROM analytics_events WHERE event_id = %s", [event.event_id])
    added = [act.as_event(number) for number, act in enumerate(late, start=len(events) + 1)]
    EventLoader(rates).load(added)
    for start in sorted({Granularity.DAY.floor(event.timestamp) for event in (*removed, *added)}):
        update_users(rates, Window(start, Granularity.DAY.next(start)))
    stale = {(period.granularity, period.window.start) for period in stale_periods(rates)}
    for granularity, closed in ((Granularity.MONTH, SPAN), (Granularity.DAY, days_closed)):
        columns = "period_start, company_id, total_users, new_users, users_at_start"
        stored, due = (
            rates.execute(
                f"SELECT {columns} FROM {relation} WHERE period_start = ANY (%s) ORDER BY 1, 2",
                [*parameters, [w.start for w in closed.split(granularity) if (granularity, w.start) not in stale]],
            ).fetchall()
            for relation, parameters in (
                ("(SELECT * FROM analytics_user_metrics WHERE granularity = %s) AS stored", [str(granularity)]),
                (
                    "analytics_user_metrics_rows(%s, %s, %s, 'UTC', 'EUR', 1)",
                    [str(granularity), closed.start.date(), closed.end.date()],
                ),
            )
        )
        assert stored == due


@given(
    history=st.lists(acts, min_size=1, max_size=20),
    windows=st.lists(months | ranges | odd, min_size=2, max_size=6),
    closed=st.sampled_from([[], [SPAN]]),
)
@modest
def test_users_of_many_periods_at_once_are_those_of_each(
    rates: Connection, history: list[Act], windows: list[Window], closed: list[Window]
) -> None:
    """Periods of any instants, overlapping or apart, of a company, of another that has as many users, and of both."""
    clear(rates)
    _forget_users(rates)
    events = [act.as_event(number) for number, act in enumerate(history, start=1)]
    twins = [event._replace(event_id=UUID(int=event.event_id.int + 100), company_id="twin") for event in events]
    EventLoader(rates).load([*events, *twins])
    for span in closed:
        update_users(rates, span)
    asked = [(company, window) for window in windows for company in (COMPANY, None, "twin")]
    columns = ", ".join(UserMetrics.__slots__)
    rows = rates.execute(
        f"SELECT churned_of_start, active_fingerprint, {columns} FROM analytics_user_answers(ARRAY["
        + ", ".join(["ROW(%s, %s, %s, NULL, NULL)::analytics_figure_period"] * len(asked))
        + "]) ORDER BY place",
        [value for company, window in asked for value in (company, window.start, window.end)],
    ).fetchall()
    assert len(rows) == len(asked)
    for number, window in enumerate(windows):
        own, both, twin = rows[3 * number : 3 * number + 3]
        wanted = users_of(events, window, before(window))
        assert rounded(UserMetrics(*own[2:])) == rounded(wanted)
        assert wanted.churn_rate_of_start == (Decimal(100 * own[0]) / own[7] if own[7] else None)
        assert twin == own
        assert both[0] == 2 * own[0]
        assert both[2:8] == tuple(2 * count for count in own[2:8])
        # Of each user twice: nobody is left over.
        assert (both[1], bool(own[1])) == (0, own[3] > 0)


def _forget_users(connection: Connection) -> None:
    for table in (USERS, "analytics_user_deletions"):
        connection.execute(f"DELETE FROM {table}")


def _stored_users(connection: Connection) -> list[list[tuple[object, ...]]]:
    return [
        connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()
        for table in (USERS, "analytics_user_deletions")
    ]


@given(history=st.lists(acts, min_size=1, max_size=20), windows=st.lists(months | ranges, min_size=1, max_size=3))
@modest
def test_amounts_are_converted_at_the_rate_of_their_own_day_or_listed(
    rates: Connection, history: list[Act], windows: list[Window]
) -> None:
    clear(rates)
    events = [act.as_event(number) for number, act in enumerate(history, start=1)]
    EventLoader(rates).load(events)
    asked = [(COMPANY, window) for window in windows]
    revenues, mrrs = revenue_figures(rates, asked, "EUR"), mrr_figures(rates, asked, "EUR")
    for window, of_window, mrr in zip(windows, revenues, mrrs, strict=True):
        figures = of_window.metrics
        refunded, others = apart(within(events, window))
        refunded_before, others_before = apart(within(events, before(window)))
        revenue, _ = converted(within(events, window), "revenue")
        invoiced, not_invoiced = converted(within(events, window), "billing")
        previous, _ = converted(within(events, before(window)), "revenue")
        refunds, not_refunded = converted(refunded, "revenue")
        missing, missing_before = converted(others, "revenue")[1], converted(others_before, "revenue")[1]
        not_refunded_before = converted(refunded_before, "revenue")[1]
        assert figures.invoiced is not None
        for value, wanted in (
            (figures.total_revenue, revenue),
            (figures.invoiced, invoiced),
            (figures.refunds, -refunds),
        ):
            assert abs(Fraction(value) - wanted) < EXACT
        is_known = not (missing or not_refunded)
        if previous > 0 and is_known and not (missing_before or not_refunded_before):
            assert figures.revenue_growth is not None
            assert abs(Fraction(figures.revenue_growth) - (revenue - previous) / previous * 100) < EXACT
        else:
            assert figures.revenue_growth is None
        assert (figures.average_revenue_per_user is None) == (not is_known or not figures.total_users)
        listed = {
            (row.figure, row.part, row.currency, row.amount > 0): Fraction(row.amount)
            for row in all_unconverted(of_window, mrr)
        }
        assert listed == {
            (figure, part, currency, amount > 0): amount
            for figure, part, found in (
                ("totalRevenue", None, missing),
                ("refunds", None, negative(not_refunded)),
                ("invoiced", None, not_invoiced),
                ("revenueGrowth", None, missing_before),
                ("revenueGrowth", "refunds", negative(not_refunded_before)),
            )
            for currency, amounts in found.items()
            for amount in amounts
        }


def apart(events: list[AnalyticsEvent]) -> tuple[list[AnalyticsEvent], list[AnalyticsEvent]]:
    """Return the refunds, and everything else."""
    refunds = [event for event in events if event.event_type == "payment.refunded"]
    return refunds, [event for event in events if event.event_type != "payment.refunded"]


def negative(found: dict[str, list[Fraction]]) -> dict[str, list[Fraction]]:
    return {currency: [-amount for amount in amounts] for currency, amounts in found.items()}


def converted(events: list[AnalyticsEvent], category: str) -> tuple[Fraction, dict[str, list[Fraction]]]:
    """Return the sum in euros, and what has no rate, by currency, gains and losses of days apart."""
    total = Fraction(0)
    by_day: defaultdict[tuple[str, date], Fraction] = defaultdict(Fraction)
    for event in events:
        if event.category == category and event.value is not None and event.currency:
            by_day[event.currency, event.timestamp.date()] += Fraction(event.value)
    missing: defaultdict[str, dict[bool, Fraction]] = defaultdict(dict)
    for (currency, day), amount in by_day.items():
        in_euros = rate(currency, day)
        if in_euros is not None:
            total += amount * in_euros
        elif amount:
            sums = missing[currency]
            sums[amount > 0] = sums.get(amount > 0, Fraction(0)) + amount
    return total, {currency: list(sums.values()) for currency, sums in missing.items()}
