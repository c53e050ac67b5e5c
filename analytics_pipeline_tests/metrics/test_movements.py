"""What each way of coming, staying and going does to MRR: before anything is closed, and after."""

import json
from dataclasses import asdict, fields
from uuid import UUID

import pytest

from analytics_pipeline.metrics.revenue import MrrMovements, revenue_metrics
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.tables import MRR_MOVEMENTS, close_metric, stale_periods
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.metrics.closing import days
from analytics_pipeline_tests.metrics.single_figures import mrr_movements
from analytics_pipeline_tests.metrics.subscription_changes import (
    ARRIVED,
    COMPANY,
    SPAN,
    a_change,
    adds_up,
    arrivals_of,
    as_events,
    load,
    load_events,
    table,
)


def moved(connection: Connection, window: Window) -> dict[str, int]:
    """Return what moved MRR in a window, without the zeros."""
    amounts = asdict(mrr_movements(connection, COMPANY, window, "EUR"))
    return {name: int(amount) for name, amount in amounts.items() if amount}


PAUSED = {"what": "paused", "status": "paused"}
JANUARY, FEBRUARY = days("2025-01-01", "2025-01-31"), days("2025-02-01", "2025-02-28")


def both(connection: Connection, *expected: dict[str, int]) -> None:
    """Hold January and February to what is expected, from events and from the closed table."""
    for _ in range(2):
        assert [moved(connection, month) for month in (JANUARY, FEBRUARY)] == list(expected)
        update_subscriptions(connection, SPAN)


@pytest.mark.slow
def test_a_subscription_without_a_user_is_a_customer_of_its_own(rates: Connection) -> None:
    load(rates, a_change("01-05", user=None), a_change("01-05", user=None, name="s2"))
    both(rates, {"new": 60, "end": 60}, {"start": 60, "end": 60})
    assert revenue_metrics(rates, COMPANY, JANUARY, "EUR").paying_customers == 2


@pytest.mark.slow
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


@pytest.mark.slow
def test_ended_and_started_at_one_instant_goes_on(rates: Connection) -> None:
    """Whichever came in first: an end comes before what starts again if the subscription ran."""
    for order in ((0, 1), (1, 0), (0, 0)):
        load(
            rates,
            a_change("01-05", price="50"),
            a_change("02-05T00:00", "ended", "ended", price="50", arrived=order[0]),
            a_change("02-05T00:00", "started", price="80", arrived=order[1]),
        )
        both(rates, {"new": 50, "end": 50}, {"start": 50, "expansion": 30, "end": 80})
        assert not any(row[-2] for row in table(rates))


@pytest.mark.slow
def test_what_starts_and_ends_at_one_instant_has_never_been(rates: Connection) -> None:
    load(
        rates,
        a_change("01-05", "ended", "ended"),
        a_change("01-05", "started", arrived=1),
        a_change("02-05", "started", price="40"),
    )
    both(rates, {}, {"new": 40, "end": 40})


@pytest.mark.parametrize(
    ("sequences", "arrivals", "price"),
    [
        # Of each: the highest counts, whatever else.
        ((2, 1), (0, 1), 40),
        ((-1, 0.5), (1, 0), 60),
        (("10", 9), (0, 1), 40),
        # Not of each: the last to arrive.
        ((2, None), (0, 1), 60),
        ((2, "second"), (1, 0), 40),
        ((2, 2), (1, 0), 40),
        # Not even that: the highest id.
        ((None, None), (0, 0), 60),
    ],
)
@pytest.mark.slow
def test_changes_of_one_instant_are_ordered_by_sequence_else_by_arrival_else_by_id(
    rates: Connection, sequences: tuple[object, object], arrivals: tuple[int, int], price: int
) -> None:
    one, other = (
        a_change("01-05", "changed", price=amount, sequence=sequence, arrived=arrived)
        for amount, sequence, arrived in zip(("40", "60"), sequences, arrivals, strict=True)
    )
    load(rates, one, other)
    both(rates, {"new": price, "end": price}, {"start": price, "end": price})
    assert [row[-2] for row in table(rates)] == [arrivals == (0, 0)]


@pytest.mark.slow
def test_a_sequence_outranks_an_end(rates: Connection) -> None:
    load(
        rates,
        a_change("01-05"),
        a_change("02-05", "ended", "ended", sequence=2),
        a_change("02-05", "started", sequence=1),
    )
    both(rates, {"new": 30, "end": 30}, {"start": 30, "churn": 30})


@pytest.mark.slow
def test_who_is_named_at_an_instant_by_any_change_has_it(rates: Connection) -> None:
    load(
        rates,
        a_change("01-05", "started", price="30"),
        a_change("01-05", "changed", price="50", user=None, arrived=1),
        a_change("02-05", "paused", "paused", price="50", user="u2", sequence=1),
        a_change("02-05", "resumed", price="50", user=None, sequence=2),
    )
    both(rates, {"new": 50, "end": 50}, {"start": 50, "new": 50, "churn": 50, "end": 50})


@pytest.mark.slow
def test_an_end_that_arrives_late_turns_a_later_instant_over(rates: Connection) -> None:
    """What counts of an instant closed long ago depends on what came before it."""
    life = [
        a_change("01-05", price="50"),
        a_change("02-05", "ended", "ended", price="50"),
        a_change("02-05", "started", price="80"),
        a_change("01-20", "ended", "ended", price="50"),
    ]
    load(rates, *life[:3])
    update_subscriptions(rates, SPAN)
    assert moved(rates, FEBRUARY) == {"start": 50, "expansion": 30, "end": 80}
    load_events(rates, as_events(life), arrivals_of(life))
    update_subscriptions(rates, days("2025-01-20"))
    assert [moved(rates, month) for month in (JANUARY, FEBRUARY)] == [{}, {}]
    rates.execute("DELETE FROM analytics_events WHERE event_id = %s", [UUID(int=4)])
    update_subscriptions(rates, days("2025-01-20"))
    assert moved(rates, FEBRUARY) == {"start": 50, "expansion": 30, "end": 80}


@pytest.mark.slow
def test_a_subscription_that_changes_hands_is_lost_by_one_and_won_by_the_other(rates: Connection) -> None:
    load(rates, a_change("01-05"), a_change("02-05", "changed", user="u2"))
    both(rates, {"new": 30, "end": 30}, {"start": 30, "new": 30, "churn": 30, "end": 30})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("life", "january", "february"),
    [
        # Passed on in January; its first holder comes back by another subscription, or by the same one.
        (
            [("01-05", {}), ("01-12", {"user": "u2"}), ("02-05", {"name": "s2"})],
            {"new": 30, "end": 30},
            {"start": 30, "reactivation": 30, "end": 60},
        ),
        (
            [("01-05", {}), ("01-12", {"user": "u2"}), ("02-05", {})],
            {"new": 30, "end": 30},
            {"start": 30, "reactivation": 30, "churn": 30, "end": 30},
        ),
        # Paused when it passes: what the new holder resumes is new.
        (
            [("01-05", {}), ("01-06", PAUSED), ("01-12", {**PAUSED, "user": "u2"}), ("02-05", {"user": "u2"})],
            {},
            {"new": 30, "end": 30},
        ),
        (
            [("01-05", {}), ("02-06", PAUSED), ("02-12", {**PAUSED, "user": "u2"})],
            {"new": 30, "end": 30},
            {"start": 30, "churn": 30},
        ),
        # Paused, passed on and back: the first holder resumes what it had paused.
        (
            [("01-05", {}), ("01-06", PAUSED), ("01-12", {**PAUSED, "user": "u2"}), ("01-13", PAUSED), ("02-05", {})],
            {},
            {"expansion": 30, "end": 30},
        ),
        # Its new holder has paid before, for another one.
        (
            [
                ("01-02", {"name": "s2", "user": "u2"}),
                ("01-03", {"name": "s2", "user": "u2", "what": "ended", "status": "ended"}),
                ("01-05", {}),
                ("02-05", {"user": "u2"}),
            ],
            {"new": 30, "end": 30},
            {"start": 30, "reactivation": 30, "churn": 30, "end": 30},
        ),
    ],
)
def test_a_customer_keeps_its_past_when_a_subscription_passes_to_another(
    rates: Connection, life: list[tuple[str, dict[str, str]]], january: dict[str, int], february: dict[str, int]
) -> None:
    load(rates, *(a_change(when, **{"what": "changed", **fields}) for when, fields in life))
    both(rates, january, february)


@pytest.mark.slow
def test_a_pause_and_a_dearer_return_are_contraction_and_expansion(rates: Connection) -> None:
    load(
        rates,
        a_change("01-02", price="50"),
        a_change("01-31T23:00", "paused", "paused", price="50"),
        a_change("02-20", "resumed", price="80"),
    )
    both(rates, {}, {"expansion": 80, "end": 80})


@pytest.mark.slow
def test_a_first_payment_that_arrives_late_makes_a_later_new_customer_come_back(rates: Connection) -> None:
    """By another subscription that has passed on since, of which no row of that later period tells."""
    life = [a_change("02-05", name="s2"), a_change("01-05", "changed"), a_change("01-12", "changed", user="u2")]
    load(rates, life[0], life[2]._replace(user="u2"))
    update_subscriptions(rates, SPAN)
    for month in (JANUARY, FEBRUARY):
        close_metric(rates, MRR_MOVEMENTS, Granularity.MONTH, month, "EUR")
    assert moved(rates, FEBRUARY) == {"start": 30, "new": 30, "end": 60}
    late = as_events([life[1]])[0]._replace(event_id=UUID(int=9))
    load_events(rates, [late], {late.event_id: ARRIVED})
    update_subscriptions(rates, days("2025-01-05"))
    assert moved(rates, FEBRUARY) == {"start": 30, "reactivation": 30, "end": 60}
    assert [period.window for period in stale_periods(rates)] == [JANUARY, FEBRUARY]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    for granularity, windows in ((Granularity.MONTH, [JANUARY, FEBRUARY]), (Granularity.DAY, [days("2025-01-28")])):
        for window in windows:
            close_metric(rates, MRR_MOVEMENTS, granularity, window, "EUR")
            row = fetch_row(
                rates,
                f"SELECT {', '.join(names)} FROM analytics_mrr_movements "
                f"WHERE company_id IS NOT NULL AND granularity = %s AND period_start = %s",
                [str(granularity), window.start],
            )
            stored = MrrMovements(*row)
            assert adds_up(stored)
            assert stored == mrr_movements(rates, COMPANY, window, "EUR")
