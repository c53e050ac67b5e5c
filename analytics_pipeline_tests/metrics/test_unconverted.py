"""What lacks a rate is listed by itself, and is in no figure, movement or ratio that would be wrong with it."""

from dataclasses import astuple
from decimal import Decimal
from typing import Any

import pytest

from analytics_pipeline.health.metrics import amounts_converted
from analytics_pipeline.metrics.answers import movements_answer, revenue_answer
from analytics_pipeline.metrics.revenue import revenue_metrics, unconverted
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.tables import MRR_MOVEMENTS, REVENUE_METRICS, close_metric
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import close_inputs, days
from analytics_pipeline_tests.metrics.single_figures import mrr_movements
from analytics_pipeline_tests.metrics.subscription_changes import COMPANY, SPAN, a_change, adds_up, clear, load

pytestmark = pytest.mark.slow

JANUARY, FEBRUARY = days("2025-01-01", "2025-01-31"), days("2025-02-01", "2025-02-28")
# Dollars have rates from 10 January to 3 February, francs none at all (subscription_changes).
Listed = list[tuple[str, str | None, str, int, str, str]]


def listed(connection: Connection, window: Any = JANUARY) -> Listed:
    return [
        (row.figure, row.part, row.currency, int(row.amount), f"{row.first_day:%m-%d}", f"{row.last_day:%m-%d}")
        for row in unconverted(connection, COMPANY, window, "EUR")
    ]


def test_a_movement_is_listed_with_its_own_days_and_gains_and_losses_apart(rates: Connection) -> None:
    load(
        rates,
        a_change("01-03", price="70", currency="CHF"),
        a_change("01-14", price="40", currency="CHF", name="s2", user="u2"),
        a_change("02-10", "ended", "ended", currency="CHF", price="70"),
        a_change("02-11", price="70", currency="CHF", name="s3", user="u3"),
        a_change("02-20", price="30", name="s4", user="u4"),
    )
    for _ in range(2):
        assert listed(rates) == [
            ("mrr", None, "CHF", 110, "01-31", "01-31"),
            ("mrrMovements", "new", "CHF", 110, "01-03", "01-14"),
        ]
        # As much is lost as is won: nothing cancels out.
        assert listed(rates, FEBRUARY) == [
            ("mrr", None, "CHF", 110, "02-28", "02-28"),
            ("mrrMovements", "churn", "CHF", 70, "02-10", "02-10"),
            ("mrrMovements", "new", "CHF", 70, "02-11", "02-11"),
            ("mrrMovements", "start", "CHF", 110, "01-31", "01-31"),
        ]
        assert [int(amount) for amount in astuple(mrr_movements(rates, COMPANY, FEBRUARY, "EUR"))] == [
            *(0, 30, 0, 0, 0, 0, 0, 30),
        ]
        update_subscriptions(rates, SPAN)


def test_answers_show_the_part_and_the_days(rates: Connection) -> None:
    load(rates, a_change("01-03", price="70", currency="CHF"))
    entry = {"currency": "CHF", "amount": Decimal("70.00"), "firstDate": "2025-01-03", "lastDate": "2025-01-03"}
    answer = movements_answer(rates, COMPANY, JANUARY, "EUR")
    assert answer["unconverted"][1] == {"figure": "mrrMovements", "part": "new", **entry}
    assert "part" not in answer["unconverted"][0]


@pytest.mark.parametrize(
    ("life", "february", "left_out"),
    [
        # The balance at the start has no rate, that at the end has one.
        (
            [("01-05", "120", "USD")],
            {"start": 0, "end": 0},
            [("end", 120, "01-20", "01-20"), ("start", 120, "01-09", "01-09")],
        ),
        # The other way round, with a movement between that has one.
        (
            [("01-11", "120", "USD"), ("01-30", "180", "USD")],
            {"start": 0, "end": 0},
            [
                ("mrr", 180, "02-05", "02-05"),
                ("expansion", 60, "01-30", "01-30"),
                ("start", 120, "01-24", "01-24"),
            ],
        ),
        # Both have one and the movement has none.
        (
            [("01-03", "120", "USD")],
            {"start": 0, "end": 0},
            [("end", 120, "01-20", "01-20"), ("new", 120, "01-03", "01-03")],
        ),
    ],
)
def test_fx_never_holds_what_has_no_rate_at_one_end_or_of_a_movement(
    rates: Connection, life: list[tuple[str, str, str]], february: dict[str, int], left_out: list[tuple[Any, ...]]
) -> None:
    """Beside it somebody pays in euros, who stays in the bridge."""
    windows = {"01-05": days("2025-01-10", "2025-01-20"), "01-11": days("2025-01-25", "2025-02-05")}
    window = windows.get(life[0][0], days("2025-01-02", "2025-01-20"))
    load(
        rates,
        a_change("01-01T00:00", price="30", name="s2", user="u2"),
        *(a_change(when, "changed", price=price, currency=currency) for when, price, currency in life),
    )
    for _ in range(2):
        moved = mrr_movements(rates, COMPANY, window, "EUR")
        assert moved.fx == 0
        assert adds_up(moved)
        assert [moved.start, moved.end] == [30 + february["start"], 30 + february["end"]]
        rows = listed(rates, window)
        assert [(part or figure, *rest) for figure, part, _, *rest in rows] == left_out
        update_subscriptions(rates, SPAN)


def test_who_has_no_balance_at_an_end_needs_no_rate_there(rates: Connection) -> None:
    """Dollars have no rate when the period begins: whoever pays in them then is left out, whoever comes later not."""
    load(
        rates,
        a_change("01-03", price="120", currency="USD"),
        a_change("01-12", price="120", currency="USD", name="s2", user="u2"),
    )
    moved = mrr_movements(rates, COMPANY, days("2025-01-08", "2025-01-16"), "EUR")
    assert [moved.start, moved.new, moved.fx, moved.end] == [0, 100, 0, 100]


def test_refunds_are_listed_as_refunds(rates: Connection) -> None:
    clear(rates)
    for when, what, value in (
        ("01-02", "payment.received", "500"),
        ("01-02", "payment.refunded", "-500"),
        ("01-20", "payment.refunded", "-70"),
        ("01-20", "invoice.created", "90"),
        ("01-21", "invoice.credited", "-90"),
    ):
        category = "billing" if what.startswith("invoice") else "revenue"
        add_event(rates, f"2025-{when}T10:00", what, category=category, value=value, currency="CHF")
    assert listed(rates) == [
        ("invoiced", None, "CHF", -90, "01-21", "01-21"),
        ("invoiced", None, "CHF", 90, "01-20", "01-20"),
        ("refunds", None, "CHF", 570, "01-02", "01-20"),
        ("totalRevenue", None, "CHF", 500, "01-02", "01-02"),
    ]
    assert listed(rates, FEBRUARY) == [
        ("revenueGrowth", None, "CHF", 500, "01-02", "01-02"),
        ("revenueGrowth", "refunds", "CHF", 570, "01-02", "01-20"),
    ]


@pytest.mark.parametrize("closed", [False, True])
def test_a_ratio_of_which_an_amount_lacks_a_rate_is_null(rates: Connection, closed: bool) -> None:  # noqa: FBT001
    """Of January and of all companies together, too; the amounts that have a rate are shown."""
    load(rates, a_change("01-03", price="70", currency="CHF"), a_change("01-14", price="40", name="s2", user="u2"))
    add_event(rates, "2025-01-10T10:00", value="100")
    add_event(rates, "2025-01-10T10:00", "payment.refunded", value="-1", currency="CHF")
    add_event(rates, "2025-02-10T10:00", value="100")
    if closed:
        close_inputs(rates, JANUARY)
    for company in (COMPANY, None):
        january = revenue_metrics(rates, company, JANUARY, "EUR")
        assert [january.total_revenue, january.mrr, january.paying_customers] == [100, 40, 2]
        assert (january.arpa, january.average_revenue_per_user) == (None, None)
        february = revenue_metrics(rates, company, FEBRUARY, "EUR")
        assert [february.total_revenue, february.revenue_growth, february.arpa] == [100, None, None]
        assert february.average_revenue_per_user is not None
    for table in (REVENUE_METRICS, MRR_MOVEMENTS):
        close_metric(rates, table, Granularity.MONTH, JANUARY, "EUR")
    stored = (
        "SELECT arpa, average_revenue_per_user FROM analytics_revenue_metrics "
        "WHERE company_id IS NOT NULL AND period_start = %s"
    )
    assert fetch_row(rates, stored, [JANUARY.start]) == (None, None)
    finding = amounts_converted(
        rates, get_settings(), "mrr_movements_monthly", MRR_MOVEMENTS, Granularity.MONTH, JANUARY
    )
    assert "acme: mrrMovements new of 70.00 CHF (2025-01-03 to 2025-01-03)" in finding.summary
    finding = amounts_converted(
        rates, get_settings(), "revenue_metrics_monthly", REVENUE_METRICS, Granularity.MONTH, JANUARY
    )
    assert "acme: refunds of 1.00 CHF (2025-01-10 to 2025-01-10)" in finding.summary
    assert revenue_answer(rates, COMPANY, JANUARY, "EUR")["arpa"] is None


def test_the_check_adds_flows_up_and_tells_the_newest_of_balances(rates: Connection) -> None:
    load(
        rates,
        a_change("01-27", price="1517", currency="JPY"),
        a_change("01-29", price="100", currency="JPY", name="s2", user="u2"),
        a_change("01-31", "ended", "ended", price="1517", currency="JPY"),
    )
    window = days("2025-01-26", "2025-01-31")
    found: dict[str, set[tuple[str, ...]]] = {}
    for table in (REVENUE_METRICS, MRR_MOVEMENTS):
        close_metric(rates, table, Granularity.DAY, window, "EUR")
        finding = amounts_converted(rates, get_settings(), table.metric, table, Granularity.DAY, window)
        fields = ("figure", "amount", "first day", "last day")
        unconverted_rows: Any = finding.metadata["unconverted"]
        found[table.metric] = {tuple(row[field] for field in fields) for row in unconverted_rows}
    mrr = ("mrr", "100", "2025-01-27", "2025-01-31")
    assert found["revenue_metrics"] == {mrr}
    assert found["mrr_movements"] == {
        mrr,
        ("mrrMovements start", "1617", "2025-01-27", "2025-01-30"),
        ("mrrMovements new", "1617", "2025-01-27", "2025-01-29"),
        ("mrrMovements churn", "1517", "2025-01-31", "2025-01-31"),
    }


def test_crypto_without_a_rate_on_any_day_has_no_value(rates: Connection) -> None:
    clear(rates)
    for day in ("01-20", "02-20"):
        add_event(rates, f"2025-{day}T10:00", "crypto.sent", category="crypto", value="1", currency="BTC")
    volumes = "SELECT converted FROM analytics_crypto_volumes(NULL, %s, %s, 'EUR')"
    assert fetch_row(rates, volumes, [JANUARY.start, JANUARY.end])[0] > 0
    assert fetch_row(rates, volumes, [JANUARY.start, FEBRUARY.end]) == (None,)
