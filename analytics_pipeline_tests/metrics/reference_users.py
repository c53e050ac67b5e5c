"""Users counted event by event: a second reading of DEFINITIONS, which knows neither tables nor SQL."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from analytics_pipeline.events.model import AnalyticsEvent
from analytics_pipeline.metrics.users import UserMetrics
from analytics_pipeline.windows import Window

ACTIVE = ("revenue", "user_activity", "crypto")
DELETED = "user.deleted"


@dataclass
class Life:
    """From the first event, or the first after a deletion, to the next deletion, both included (None: none yet)."""

    since: datetime
    until: datetime | None = None

    def is_before(self, instant: datetime) -> bool:
        """Tell whether it has begun before an instant and not ended before it."""
        return self.since < instant and (self.until is None or self.until >= instant)

    def touches(self, window: Window) -> bool:
        return self.since < window.end and (self.until is None or self.until >= window.start)


def lives_of(events: Iterable[AnalyticsEvent]) -> dict[str, list[Life]]:
    """Return the lives of every user, in order; what happens at the instant of a deletion comes before it."""
    lives: defaultdict[str, list[Life]] = defaultdict(list)
    for event in sorted(events, key=lambda e: (e.timestamp, e.event_type == DELETED)):
        if event.user_id is None:
            continue
        own = lives[event.user_id]
        is_there = bool(own) and own[-1].until is None
        if not own or (not is_there and event.event_type != DELETED):
            own.append(Life(event.timestamp))
            is_there = True
        if event.event_type == DELETED and is_there:
            own[-1].until = event.timestamp
    return dict(lives)


def active_users(events: Iterable[AnalyticsEvent], window: Window) -> set[str]:
    return {
        event.user_id
        for event in events
        if event.user_id
        and window.start <= event.timestamp < window.end
        and event.category in ACTIVE
        and event.event_type != DELETED
    }


def users_of(events: list[AnalyticsEvent], window: Window, before: Window) -> UserMetrics:
    """Return the figures of a window with the period before it."""
    lives = lives_of(events)
    now, then = active_users(events, window), active_users(events, before)
    last = {user: [life for life in own if life.since < window.end][-1:] for user, own in lives.items()}
    gone = {user for user, own in last.items() if own and own[0].until is not None and own[0].until < window.end}
    gone_before = {user for user in gone if (until := last[user][0].until) is not None and until < window.start}
    churned = (then - now - gone_before) | (gone - gone_before)
    total = [user for user, own in lives.items() if any(life.touches(window) for life in own)]

    def per_cent(part: int, whole: int) -> Decimal | None:
        return Decimal(100 * part) / whole if whole else None

    return UserMetrics(
        total_users=len(total),
        active_users=len(now),
        new_users=sum(window.start <= own[0].since < window.end for own in lives.values()),
        churned_users=len(churned),
        users_at_start=sum(any(life.is_before(window.start) for life in own) for own in lives.values()),
        active_before=len(then),
        churn_rate=per_cent(len(churned), len(total)),
        active_user_rate=per_cent(len(now), len(total)),
        churn_rate_of_start=per_cent(len(churned & then), len(then)),
    )
