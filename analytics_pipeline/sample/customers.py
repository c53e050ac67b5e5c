"""The customers of a company and their subscriptions, as they stand on a simulated day. State only."""

from dataclasses import dataclass
from enum import StrEnum

from analytics_pipeline.sample.profiles import Plan
from analytics_pipeline.sample.stream import Metadata


class Status(StrEnum):
    """What a subscription is, in the words of its events."""

    ACTIVE = "active"
    TRIALING = "trialing"
    PAST_DUE = "past_due"
    PAUSED = "paused"
    ENDED = "ended"


@dataclass(slots=True, eq=False)
class User:
    """A customer. ``settled`` is the last second at which something about its money happens."""

    id: str
    currency: str
    engagement: float
    trades: bool
    quiet: bool = False
    settled: int = 0
    subscription: "Subscription | None" = None


@dataclass(slots=True, eq=False)
class Subscription:
    """A subscription. Days are ordinals; ``due`` is the day on which its state moves on by itself.

    The running period began on ``period_start``; periods are counted from ``anchor``, so that a
    subscription of the 31st comes back to the 31st. ``since`` is the second of its last event, and
    ``open_invoice`` what a failed payment left.
    """

    id: str
    user: User
    plan: Plan
    tier: int
    quantity: int
    price_percent: int
    status: Status
    anchor: int
    period_start: int
    due: int
    periods: int = 0
    since: int = 0
    cancelling: bool = False
    open_invoice: Metadata | None = None

    @property
    def price(self) -> int:
        """Cents per unit and interval."""
        return self.plan.tiers[self.tier] * self.price_percent // 100

    @property
    def amount(self) -> int:
        """Cents of one period."""
        return self.price * self.quantity
