"""Subscriptions and MRR against a second reading of DEFINITIONS, whatever the order in which events arrive."""

from dataclasses import fields, replace
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_pipeline.events.model import AnalyticsEvent
from analytics_pipeline.metrics.revenue import all_unconverted, mrr_figures, revenue_figures
from analytics_pipeline.metrics.rounding import round_movements
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.metrics.reference import histories, movements, paying_customers
from analytics_pipeline_tests.metrics.subscription_changes import (
    COMPANY,
    EXACT,
    EXAMPLES,
    FIRST,
    SPAN,
    Change,
    adds_up,
    arrivals_of,
    as_events,
    clear,
    load_events,
    rate,
    table,
)

STATUSES = {
    "started": ("active", "trialing"),
    "changed": ("active", "trialing", "past_due"),
    "cancel_scheduled": ("active", "trialing", "paused"),
    "paused": ("paused",),
    "resumed": ("active",),
    "past_due": ("past_due",),
    "ended": ("ended",),
}
PRICES = ("0", "10", "19.99", "100", "33.333333333333333333", "0.000000000000000001")

instants = st.builds(
    lambda day, at: datetime.combine(FIRST + timedelta(days=day), at, UTC),
    st.integers(0, 40),
    st.sampled_from([time(0), time(12), time(23, 59, 59, 999999)]),
)


changes = st.sampled_from(sorted(STATUSES)).flatmap(
    lambda what: st.builds(
        Change,
        at=instants,
        name=st.sampled_from(["s1", "s2", "s3"]),
        what=st.just(what),
        status=st.sampled_from(STATUSES[what]),
        user=st.sampled_from(["u1", "u2", None]),
        price=st.sampled_from(PRICES),
        currency=st.sampled_from(["EUR", "USD", "CHF", "BTC"]),
        interval=st.sampled_from(["month", "day", "week", "year"]),
        every=st.integers(1, 7),
        quantity=st.integers(0, 3),
        sequence=st.sampled_from([1, 2, 3, "4", None, "x"]),
        arrived=st.integers(0, 2),
    )
)
# Many changes at one instant, or on any of them.
lives = st.lists(changes, min_size=1, max_size=12) | st.tuples(
    st.lists(instants, min_size=1, max_size=3), st.lists(changes, min_size=1, max_size=12)
).map(lambda drawn: [c._replace(at=drawn[0][n % len(drawn[0])]) for n, c in enumerate(drawn[1])])
periods = st.builds(lambda one, other: Window(min(one, other), max(one, other) + timedelta(days=1)), instants, instants)
modest = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def days_of(events: list[AnalyticsEvent]) -> list[Window]:
    touched = {event.timestamp.date() for event in events}
    return [Window.of_dates(day, day) for day in sorted(touched)]


def assert_as_defined(
    connection: Connection, windows: list[Window], events: list[AnalyticsEvent], arrivals: dict[UUID, datetime]
) -> None:
    """Hold the figures of windows to the reference: exact to 30 places, and the bridge to the last digit."""
    lives = histories(events, arrivals)
    periods = [(COMPANY, window) for window in windows]
    revenues, mrrs = revenue_figures(connection, periods, "EUR"), mrr_figures(connection, periods, "EUR")
    for window, revenue, mrr in zip(windows, revenues, mrrs, strict=True):
        expected = movements(lives, window.start, window.end, rate)
        moved = mrr.movements
        for field in fields(moved):
            assert abs(Fraction(getattr(moved, field.name)) - expected.moved[field.name]) < EXACT, (field.name, window)
        assert adds_up(moved)
        shown = round_movements(moved, "EUR")
        assert adds_up(replace(shown, fx=shown.fx + shown.rounding))
        assert revenue.metrics.paying_customers == paying_customers(lives, window.end)
        if all(event.currency == "EUR" for event in events):
            assert moved.fx == 0
        listed = {
            (row.part, row.currency): (row.amount, row.first_day, row.last_day)
            for row in all_unconverted(revenue, mrr)
            if row.figure == "mrrMovements"
        }
        assert listed.keys() == expected.left_out.keys()
        for key, (amount, *its_days) in expected.left_out.items():
            assert abs(Fraction(listed[key][0]) - amount) < EXACT, key
            assert [*listed[key][1:]] == its_days, key


@given(life=lives, windows=st.lists(periods, min_size=1, max_size=3))
@settings(modest, max_examples=25 * EXAMPLES)
def test_movements_of_any_period_are_those_of_the_definitions(
    rates: Connection, life: list[Change], windows: list[Window]
) -> None:
    clear(rates)
    events, arrivals = as_events(life), arrivals_of(life)
    load_events(rates, events, arrivals)
    assert_as_defined(rates, windows, events, arrivals)
    update_subscriptions(rates, SPAN)
    assert_as_defined(rates, windows, events, arrivals)


@given(life=lives, data=st.data())
@settings(modest, max_examples=15 * EXAMPLES)
def test_the_order_in_which_events_are_read_and_closed_does_not_matter(
    rates: Connection, life: list[Change], data: st.DataObject
) -> None:
    """Late, twice, in any batches, each closed in any order of its days: as one load in order."""
    clear(rates)
    events, arrivals = as_events(life), arrivals_of(life)
    load_events(rates, events, arrivals)
    update_subscriptions(rates, SPAN)
    wanted = table(rates)

    clear(rates)
    arriving = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=3))))
    while arriving:
        size = data.draw(st.integers(1, len(arriving)))
        batch, arriving = arriving[:size], arriving[size:]
        load_events(rates, batch, arrivals)
        for day in data.draw(st.permutations(days_of(batch))):
            update_subscriptions(rates, day)
    assert table(rates) == wanted
    assert_as_defined(rates, [data.draw(periods)], events, arrivals)


@given(life=lives, data=st.data())
@settings(modest, max_examples=10 * EXAMPLES)
def test_a_deleted_event_is_as_if_it_had_never_been_once_its_day_is_closed_again(
    rates: Connection, life: list[Change], data: st.DataObject
) -> None:
    clear(rates)
    events, arrivals = as_events(life), arrivals_of(life)
    load_events(rates, events, arrivals)
    update_subscriptions(rates, SPAN)
    deleted = data.draw(st.sampled_from(events))
    kept = [event for event in events if event is not deleted]
    rates.execute("DELETE FROM analytics_events WHERE event_id = %s", [deleted.event_id])
    update_subscriptions(rates, *days_of([deleted]))
    again = table(rates)
    assert_as_defined(rates, [data.draw(periods)], kept, arrivals)
    clear(rates)
    load_events(rates, kept, arrivals)
    update_subscriptions(rates, SPAN)
    assert table(rates) == again
