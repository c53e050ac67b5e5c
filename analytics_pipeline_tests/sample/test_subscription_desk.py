"""The lives of the sample's subscriptions: each event follows from the one before."""

from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from analytics_pipeline.events.model import AnalyticsEvent
from analytics_pipeline_tests.sample.conftest import Sample

pytestmark = pytest.mark.slow

STATUSES = {
    "started": {"active", "trialing"},
    "changed": {"active"},
    "paused": {"paused"},
    "resumed": {"active"},
    "past_due": {"past_due"},
    "cancel_scheduled": {"active"},
    "ended": {"ended"},
}
# What may follow each status; an active subscription whose cancellation is scheduled may only end.
NEXT = {
    "active": {"changed", "paused", "past_due", "cancel_scheduled", "ended"},
    "trialing": {"changed", "ended"},
    "past_due": {"changed", "ended"},
    "paused": {"resumed", "ended"},
    "ended": set(),
}


def what(event: AnalyticsEvent) -> str:
    return event.event_type.removeprefix("subscription.")


@pytest.fixture(scope="module")
def lives(sample: Sample) -> list[list[AnalyticsEvent]]:
    by_id: defaultdict[str, list[AnalyticsEvent]] = defaultdict(list)
    for event in sample.of_category("subscription"):
        by_id[event.metadata["subscription_id"]].append(event)
    return list(by_id.values())


def test_every_event_follows_from_the_one_before(lives: list[list[AnalyticsEvent]]) -> None:
    for life in lives:
        assert what(life[0]) == "started"
        for event in life:
            assert event.metadata["status"] in STATUSES[what(event)]
        for before, event in pairwise(life):
            assert before.timestamp < event.timestamp
            allowed = {"ended"} if what(before) == "cancel_scheduled" else NEXT[before.metadata["status"]]
            assert what(event) in allowed, [what(event) for event in life]


def test_a_subscription_keeps_company_user_and_currency(lives: list[list[AnalyticsEvent]]) -> None:
    for life in lives:
        assert len({(event.company_id, event.user_id, event.currency) for event in life}) == 1


def test_plans_come_in_every_interval(lives: list[list[AnalyticsEvent]]) -> None:
    intervals = Counter(life[0].metadata["interval"] for life in lives)
    assert intervals.keys() == {"day", "week", "month", "year"}
    assert intervals["month"] > len(lives) / 2


def test_changes_go_up_and_down_and_from_trial_to_active(lives: list[list[AnalyticsEvent]]) -> None:
    seen = Counter[str]()
    for life in lives:
        for before, event in pairwise(life):
            if what(event) != "changed" or before.value is None or event.value is None:
                continue
            quantity, quantity_before = event.metadata["quantity"], before.metadata["quantity"]
            same_interval = event.metadata["interval"] == before.metadata["interval"]
            changes = {
                "upgrade": same_interval and event.value > before.value,
                "downgrade": same_interval and event.value < before.value,
                "more units": quantity > quantity_before,
                "fewer units": quantity < quantity_before,
                "other interval": not same_interval,
                "trial converts": before.metadata["status"] == "trialing",
                "payment recovers": before.metadata["status"] == "past_due",
            }
            assert sum(changes.values()) == 1
            seen.update(name for name, happened in changes.items() if happened)
    assert len(seen) == 7


def test_one_user_has_one_subscription_at_a_time_and_some_come_back(
    lives: list[list[AnalyticsEvent]],
) -> None:
    by_user: defaultdict[tuple[str, str | None], list[list[AnalyticsEvent]]] = defaultdict(list)
    for life in sorted(lives, key=lambda life: life[0].timestamp):
        by_user[life[0].company_id, life[0].user_id].append(life)
    assert any(len(owned) > 1 for owned in by_user.values())
    for owned in by_user.values():
        for before, after in pairwise(owned):
            assert what(before[-1]) == "ended"
            assert before[-1].timestamp.date() <= after[0].timestamp.date()


def test_every_renewal_is_on_an_active_subscription(sample: Sample) -> None:
    status: dict[str, str] = {}
    for event in sorted(sample.events, key=lambda event: (event.timestamp, event.category == "billing")):
        if event.category == "subscription":
            status[event.metadata["subscription_id"]] = event.metadata["status"]
        elif event.event_type == "invoice.created":
            assert status[event.metadata["subscription_id"]] == "active"
