"""What each way of coming, staying and going does to MRR: before anything is closed, and after."""

import json
from dataclasses import asdict, fields
from uuid import UUID

import pytest

from analytics_pipeline.metrics.revenue import MrrMovements, mrr_movements, revenue_metrics
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.tables import MRR_MOVEMENTS, close_metric
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Cadence, Window
from analytics_pipeline_tests.metrics.closing import days
from analytics_pipeline_tests.metrics.subscription_changes import COMPANY, SPAN, a_change, adds_up, load, table


def moved(connection: Connection, window: Window) -> dict[str, int]:
    """Return what moved MRR in a window, without the zeros."""
    amounts = asdict(mrr_movements(connection, COMPANY, window, "EUR"))
    return {name: int(amount) for name, amount in amounts.items() if amount}


JANUARY, FEBRUARY = days("2025-01-01", "2025-01-31"), days("2025-02-01", "2025-02-28")


def both(connection: Connection, *expected: dict[str, int]) -> None:
    """Hold January and February to what is expected, from events and from the closed table."""
    for _ in range(2):
        assert [moved(connection, month) for month in (JANUARY, FEBRUARY)] == list(expected)
        update_subscriptions(connection, SPAN)


def test_a_subscription_without_a_user_is_a_customer_of_its_own(rates: Connection) -> None:
    load(rates, a_change("01-05", user=None), a_change("01-05", user=None, name="s2"))
    both(rates, {"new": 60, "end": 60}, {"start": 60, "end": 60})
    assert revenue_metrics(rates, COMPANY, JANUARY, "EUR").paying_customers == 2


def test_who_is_named_later_was_the_customer_from_the_start(rates: Connection) -> None:
    """Else naming a user would lose one customer and win another."""
    load(
        rates,
        a_change("01-05", user=None),
        a_change("01-05", name="s2"),
        a_change("02-05", "changed", price="40"),
    )
    both(rates, {"new": 60, "end": 60}, {"start": 60, "expansion": 10, "end": 70})
    assert revenue_metrics(rates, COMPANY, JANUARY, "EUR").paying_customers == 1


def test_of_changes_at_one_instant_the_later_in_life_counts_and_any_may_name_the_user(rates: Connection) -> None:
    load(
        rates,
        a_change("01-20", "ended", "ended", user=None, name="s2"),
        a_change("01-20", "started", name="s2"),
        a_change("01-05", "changed", price="50", user=None),
        a_change("01-05", "started", price="30"),
        a_change("02-05", "resumed", price="50"),
        a_change("02-05", "paused", "paused", price="50"),
    )
    both(rates, {"new": 50, "end": 50}, {"start": 50, "end": 50})
    assert {row[4] for row in table(rates)} == {"u1"}


def test_a_subscription_that_changes_hands_is_lost_by_one_and_won_by_the_other(rates: Connection) -> None:
    load(rates, a_change("01-05"), a_change("02-05", "changed", user="u2"))
    both(rates, {"new": 30, "end": 30}, {"start": 30, "new": 30, "churn": 30, "end": 30})


@pytest.mark.parametrize(
    ("life", "january", "february"),
    [
        ([("01-05", "started", "active"), ("02-05", "ended", "ended")], {"new": 30}, {"churn": 30}),
        ([("01-05", "started", "active"), ("02-05", "paused", "paused")], {"new": 30}, {"contraction": 30}),
        ([("01-05", "started", "active"), ("02-05", "changed", "trialing")], {"new": 30}, {"churn": 30}),
        (
            [("01-05", "started", "active"), ("01-06", "paused", "paused"), ("02-05", "resumed", "active")],
            {},
            {"expansion": 30},
        ),
        (
            [("01-05", "started", "active"), ("01-06", "ended", "ended"), ("02-05", "changed", "active")],
            {},
            {"reactivation": 30},
        ),
        (
            [("01-05", "started", "trialing"), ("01-06", "paused", "paused"), ("02-05", "resumed", "active")],
            {},
            {"new": 30},
        ),
        ([("01-05", "started", "active"), ("01-06", "paused", "paused"), ("02-05", "ended", "ended")], {}, {}),
        ([("01-05", "started", "active"), ("02-05", "past_due", "past_due")], {"new": 30}, {}),
        ([("01-05", "started", "active"), ("02-05", "cancel_scheduled", "active")], {"new": 30}, {}),
        ([("01-31T23:59:59", "started", "active"), ("02-28T23:59:59", "ended", "ended")], {"new": 30}, {"churn": 30}),
        ([("02-01T00:00", "started", "active"), ("03-01T00:00", "ended", "ended")], {}, {"new": 30}),
    ],
)
def test_what_each_way_of_coming_and_going_is_called(
    rates: Connection, life: list[tuple[str, str, str]], january: dict[str, int], february: dict[str, int]
) -> None:
    load(rates, *(a_change(when, what, status) for when, what, status in life))
    for _ in range(2):
        for window, expected in ((JANUARY, january), (FEBRUARY, february)):
            amounts = moved(rates, window)
            assert {name: amount for name, amount in amounts.items() if name not in ("start", "end")} == expected
        update_subscriptions(rates, SPAN)


@pytest.mark.parametrize(
    ("prices", "new"),
    [
        # 120 dollars at 1.20; then 60 less at 1.07.
        ([("01-12", "120"), ("01-20", "60")], 50),
        # 120 more at 1.20 and 150 more at 1.50 are 200 euros for 270 dollars; then half of them less at 0.93.
        ([("01-12", "120"), ("01-25", "270"), ("01-28", "135")], 100),
    ],
)
def test_what_cancels_part_of_a_gain_leaves_the_rest_at_the_rate_it_was_gained_at(
    rates: Connection, prices: list[tuple[str, str]], new: int
) -> None:
    load(rates, *(a_change(when, "changed", price=price, currency="USD") for when, price in prices))
    for _ in range(2):
        assert moved(rates, JANUARY)["new"] == new
        update_subscriptions(rates, SPAN)


GOOD = {"subscription_id": "s9", "interval": "month", "interval_count": 1, "quantity": 1, "status": "active"}


@pytest.mark.parametrize(
    ("metadata", "event_type", "value", "currency"),
    [
        ("{}", "subscription.started", "10", "EUR"),
        ("[]", "subscription.started", "10", "EUR"),
        ('"text"', "subscription.started", "10", "EUR"),
        ("null", "subscription.started", "10", "EUR"),
        *(
            (json.dumps({**GOOD, **change}), "subscription.started", "10", "EUR")
            for change in (
                {"subscription_id": None},
                {"subscription_id": ""},
                {"interval": "fortnight"},
                {"interval_count": 0},
                {"interval_count": "many"},
                {"interval_count": 1.5},
                {"interval_count": 10**30},
                {"quantity": -1},
                {"quantity": None},
                {"quantity": 10**30},
                {"status": "cancelled"},
                {"status": None},
            )
        ),
        (json.dumps(GOOD), "subscription.reminder_sent", "10", "EUR"),
        (json.dumps(GOOD), "subscription.started", "-10", "EUR"),
        (json.dumps(GOOD), "subscription.started", None, "EUR"),
        (json.dumps(GOOD), "subscription.started", "10", None),
    ],
)
def test_what_is_no_subscription_event_neither_counts_nor_breaks_anything(
    rates: Connection, metadata: str, event_type: str, value: str | None, currency: str | None
) -> None:
    """Written past the ingestion, which would have rejected it."""
    load(rates, a_change("01-05"))
    rates.execute(
        'INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, value, '
        "currency, metadata) VALUES (%s, '2025-01-10Z', 'acme', 'u1', %s, 'subscription', %s, %s, %s)",
        [UUID(int=99), event_type, value, currency, metadata],
    )
    both(rates, {"new": 30, "end": 30}, {"start": 30, "end": 30})
    assert len(table(rates)) == 1


def test_rows_of_the_table_hold_the_identity_and_the_figures_of_the_functions(rates: Connection) -> None:
    load(
        rates,
        a_change("01-05", price="10", interval="day", every=7),
        a_change("01-20", name="s2", user="u2", price="100", currency="USD"),
        a_change("01-28", "changed", name="s2", user="u2", price="70", currency="USD", interval="week"),
        a_change("02-05", "ended", "ended"),
    )
    update_subscriptions(rates, SPAN)
    names = [
        field.name if field.name not in ("start", "end") else f"{field.name}_mrr" for field in fields(MrrMovements)
    ]
    for cadence, windows in ((Cadence.MONTH, [JANUARY, FEBRUARY]), (Cadence.DAY, [days("2025-01-28")])):
        for window in windows:
            close_metric(rates, MRR_MOVEMENTS, cadence, window, "EUR")
            row = fetch_row(
                rates,
                f"SELECT {', '.join(names)} FROM analytics_mrr_movements WHERE granularity = %s AND period_start = %s",
                [str(cadence), window.start],
            )
            stored = MrrMovements(*row)
            assert adds_up(stored)
            assert stored == mrr_movements(rates, COMPANY, window, "EUR")
