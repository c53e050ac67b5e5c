"""What changes under closed figures is noticed: exactly the partitions it concerns, none once they are computed."""

from collections import Counter
from collections.abc import Iterator

import pytest

from analytics_pipeline.fx.csv_rates import read_rates
from analytics_pipeline.fx.rate_store import store_rates
from analytics_pipeline.health.metrics import equals_definitions
from analytics_pipeline.metrics import tables
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.tables import (
    METRIC_TABLES,
    MRR_MOVEMENTS,
    REVENUE_METRICS,
    USER_METRICS,
    close_metric,
    kept_periods,
    restated_months,
    stale_periods,
)
from analytics_pipeline.metrics.users import update_users, user_metrics
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity
from analytics_pipeline_tests.conftest import SERVER_URL
from analytics_pipeline_tests.metrics.closed_week import (
    MONTHS,
    add_change,
    add_login,
    fill,
    is_settled,
    of,
    settle,
    stale,
)
from analytics_pipeline_tests.metrics.closing import days

pytestmark = pytest.mark.slow

PERIODS = {Granularity.DAY: 7, Granularity.MONTH: 3}
FROM_30_JANUARY = ("01-30", "01-31", "02-01", "02-02", "02-03")


@pytest.fixture(scope="module")
def shared_closed(shared: Connection) -> Connection:
    fill(shared)
    return shared


@pytest.fixture
def closed(shared_closed: Connection) -> Iterator[Connection]:
    """A database whose week and months are closed, as it was again after the test."""
    with shared_closed.transaction(force_rollback=True):
        yield shared_closed


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server counts no calls")
def test_a_proof_asks_for_the_figures_of_all_its_periods_at_once(shared_closed: Connection) -> None:
    functions = ("analytics_revenue_figures", "analytics_mrr_figures", "analytics_user_bases")

    def calls(function: str) -> int:
        shared_closed.execute("SELECT pg_stat_force_next_flush()")
        query = "SELECT coalesce(sum(calls), 0)::int FROM pg_stat_user_functions WHERE funcname = %s"
        return int(fetch_row(shared_closed, query, [function])[0])

    shared_closed.execute("SET track_functions = 'pl'")
    for table, function in zip((REVENUE_METRICS, MRR_MOVEMENTS, USER_METRICS), functions, strict=True):
        for granularity, periods in PERIODS.items():
            before = calls(function)
            proof = equals_definitions(shared_closed, get_settings(), table.asset(granularity), table, granularity)
            assert (proof.passed, proof.metadata[f"{granularity}s compared"]) == (True, periods)
            assert calls(function) - before == 1
    shared_closed.execute("RESET track_functions")


def test_a_late_change_concerns_the_periods_up_to_the_next_one(closed: Connection) -> None:
    add_change(closed, "01-30T12:00", price="50")
    update_subscriptions(closed, days("2025-01-30"))
    money = (MRR_MOVEMENTS, REVENUE_METRICS)
    assert stale(closed) == of(money, "01-30", "01-31", "02-01", "02-02", "01", "02")
    settle(closed)
    assert stale(closed) == {}
    assert is_settled(closed)


def test_a_late_end_concerns_every_later_period_and_none_before(closed: Connection) -> None:
    add_change(closed, "02-02T18:00", "ended", "ended")
    update_subscriptions(closed, days("2025-02-02"))
    assert stale(closed) == of((MRR_MOVEMENTS, REVENUE_METRICS), "02-02", "02-03", "02", "03")
    settle(closed)
    assert is_settled(closed)


def test_a_change_at_midnight_concerns_the_day_it_begins_and_not_the_one_before(closed: Connection) -> None:
    add_change(closed, "02-01T00:00", price="45")
    update_subscriptions(closed, days("2025-02-01"))
    assert stale(closed) == of((MRR_MOVEMENTS, REVENUE_METRICS), "02-01", "02-02", "02")


def test_a_deleted_change_concerns_what_it_changed(closed: Connection) -> None:
    closed.execute("DELETE FROM analytics_events WHERE event_type = 'subscription.started'")
    update_subscriptions(closed, days("2025-01-29"))
    assert stale(closed) == of(
        (MRR_MOVEMENTS, REVENUE_METRICS), "01-29", "01-30", "01-31", "02-01", "02-02", "01", "02"
    )
    settle(closed)
    assert is_settled(closed)


def test_the_same_change_under_another_id_concerns_nothing(closed: Connection) -> None:
    """Two events of one instant that say the same: it may be the other one that is stored now."""
    for what in ("cancel_scheduled", "changed"):
        add_change(closed, "02-02T12:00", what, price="60")
        assert update_subscriptions(closed, days("2025-02-02")) in (0, 1)
        assert stale(closed) == {}


def test_a_late_user_concerns_users_and_revenue_per_user_of_every_later_period(closed: Connection) -> None:
    add_login(closed, "01-30T10:00", "u9")
    update_users(closed, days("2025-01-30"))
    assert stale(closed) == of((REVENUE_METRICS, USER_METRICS), *FROM_30_JANUARY, "01", "02", "03")
    settle(closed)
    assert is_settled(closed)


def test_a_user_seen_earlier_than_known_concerns_the_periods_between(closed: Connection) -> None:
    add_login(closed, "01-29T10:00", "u2")
    update_users(closed, days("2025-01-29"))
    assert stale(closed) == of((REVENUE_METRICS, USER_METRICS), "01-29", "01-30", "01-31", "01")


def test_a_deleted_user_concerns_every_later_period_and_a_second_deletion_nothing(closed: Connection) -> None:
    add_login(closed, "02-01T10:00", "u2", "user.deleted")
    update_users(closed, days("2025-02-01"))
    assert stale(closed) == of((REVENUE_METRICS, USER_METRICS), "02-01", "02-02", "02-03", "02", "03")
    settle(closed)
    add_login(closed, "02-02T10:00", "u2", "user.deleted")
    update_users(closed, days("2025-02-02"))
    assert stale(closed) == {}
    users = user_metrics(closed, "acme", days("2025-02-02"))
    assert (users.total_users, users.churned_users) == (1, 0)


def test_a_rate_concerns_the_days_it_serves_and_no_users(closed: Connection) -> None:
    rates = read_rates(b"rate_date,base,quote,rate\n2025-01-30,EUR,USD,1.20\n", "rates.csv")
    store_rates(closed, [rates])
    assert stale(closed) == of((MRR_MOVEMENTS, REVENUE_METRICS), *FROM_30_JANUARY, "01", "02")
    settle(closed)
    store_rates(closed, [rates])
    assert stale(closed) == {}
    assert is_settled(closed)


def test_periods_of_other_definitions_or_another_currency_are_to_be_computed_again(
    closed: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(currency: str = "EUR") -> dict[tuple[str, Granularity, str], int]:
        return Counter((p.metric, p.granularity, p.causes) for p in stale_periods(closed, currency))

    every = {(table.metric, granularity): count for table in METRIC_TABLES for granularity, count in PERIODS.items()}
    assert again() == {}
    assert again("USD") == {(*key, "reporting currency EUR"): count for key, count in every.items()}
    monkeypatch.setattr(tables, "DEFINITIONS_VERSION", DEFINITIONS_VERSION + 1)
    cause = f"definitions version {DEFINITIONS_VERSION}"
    assert again() == {(*key, cause): count for key, count in every.items()}
    close_metric(closed, REVENUE_METRICS, Granularity.MONTH, days("2025-02-01", "2025-02-28"), "EUR")
    assert again()[REVENUE_METRICS.metric, Granularity.MONTH, cause] == 2
    # Another currency takes the place of the first: a table holds one.
    close_metric(closed, REVENUE_METRICS, Granularity.MONTH, MONTHS, "USD")
    currencies = (
        "SELECT DISTINCT currency FROM analytics_revenue_metrics WHERE company_id IS NOT NULL AND granularity = 'month'"
    )
    assert closed.execute(currencies).fetchall() == [("USD",)]


def test_periods_whose_events_have_expired_keep_the_version_they_have(
    closed: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-02-01Z')")
    monkeypatch.setattr(tables, "DEFINITIONS_VERSION", DEFINITIONS_VERSION + 1)
    assert stale(closed) == {
        "mrr_movements": ["02-01", "02-02", "02-03", "02", "03"],
        "revenue_metrics": ["02-01", "02-02", "02-03", "02", "03"],
        # Who has churned on the first is told by the day before.
        "user_metrics": ["02-02", "02-03", "02", "03"],
    }
    kept = {
        (table.metric, granularity): kept_periods(closed, table, granularity, "EUR")
        for table in METRIC_TABLES
        for granularity in tables.GRANULARITIES
    }
    assert {key: found and found.count for key, found in kept.items()} == {
        ("mrr_movements", Granularity.DAY): 4,
        ("revenue_metrics", Granularity.DAY): 4,
        ("user_metrics", Granularity.DAY): 5,
        **{(table.metric, Granularity.MONTH): 1 for table in METRIC_TABLES},
    }
    assert {tuple(found.versions) for found in kept.values() if found} == {(DEFINITIONS_VERSION,)}


def test_figures_that_only_the_definitions_have_changed_are_known_as_such_until_something_else_does(
    closed: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def restated() -> set[str]:
        return {f"{window.start:%m}" for asset, window in restated_months(closed) if asset == "mrr_movements_monthly"}

    close_metric(closed, MRR_MOVEMENTS, Granularity.MONTH, MONTHS, "EUR")
    assert restated() == set()
    monkeypatch.setattr(tables, "DEFINITIONS_VERSION", DEFINITIONS_VERSION + 1)
    close_metric(closed, MRR_MOVEMENTS, Granularity.MONTH, MONTHS, "EUR")
    close_metric(closed, MRR_MOVEMENTS, Granularity.MONTH, MONTHS, "EUR")
    assert restated() == {"01", "02", "03"}
    add_change(closed, "02-10T12:00", price="70")
    update_subscriptions(closed, days("2025-02-10"))
    close_metric(closed, MRR_MOVEMENTS, Granularity.MONTH, MONTHS, "EUR")
    assert restated() == {"01"}
