"""One company's days: who registers, logs in, uses features, trades, falls quiet and leaves."""

from dataclasses import dataclass
from datetime import date, timedelta
from heapq import heappop, heappush
from random import Random

from analytics_pipeline.sample.billing import Billing
from analytics_pipeline.sample.chance import about, between, one_of
from analytics_pipeline.sample.customers import Status, User
from analytics_pipeline.sample.market import (
    ASSET_PLACES,
    ASSETS,
    FIAT_PLACES,
    Market,
    cents_worth,
    quantity_worth,
)
from analytics_pipeline.sample.profiles import (
    DEVICES_BY_WEIGHT,
    ENGAGEMENTS,
    FEATURES_BY_WEIGHT,
    OTHER_CURRENCY,
    OTHER_CURRENCY_SHARE,
    TRADES_BY_WEIGHT,
    CompanyProfile,
)
from analytics_pipeline.sample.seasons import WEEKDAY_FACTORS, activity, moment
from analytics_pipeline.sample.stream import DAY, MINUTE, Metadata, Recorder, Stream, decimal_text
from analytics_pipeline.sample.subscription_desk import SubscriptionDesk

# Customers that a company of size 1 moves over from its old system in the first weeks.
FIRST_CUSTOMERS = 450
MOVE_DAYS = 45
# New customers a day of a company of size 1 in its first month, and the bounds of what growth makes of them.
REGISTRATIONS = 2.0
GROWTH_FACTORS = (0.3, 3.0)

SUBSCRIBES_AT_ONCE = 0.45

# Shares of the customers to whom this happens on a day.
SUBSCRIBES = 0.002
FALLS_QUIET = 0.0025
LEAVES = 0.3
LEAVES_AFTER_DAYS = (10, 60)

TRADER_SHARE = 0.35
TRADES_IN_SESSION = 0.5
LEAST_TRADE = 20_00
MAX_TRADE = 8_000_00

USAGE_INVOICED = 0.4
USAGE_CENTS = (3_00, 90_00)

# How many features a session may use; the mean is half of it.
MAX_FEATURES = 4
LONGEST_PAUSE = 8 * MINUTE


@dataclass(frozen=True, slots=True)
class Today:
    """The simulated day (an ordinal), days and months after the first, and how busy it is.

    ``weekday`` is the factor of its day of the week alone, ``activity`` has the season in it.
    """

    day: int
    days: int
    months: int
    weekday: float
    activity: float
    ends_month: bool

    @classmethod
    def of(cls, day: date, start: date) -> "Today":
        """Describe the day of a sample that begins at ``start``."""
        return cls(
            day=day.toordinal(),
            days=(day - start).days,
            months=(day.year - start.year) * 12 + day.month - start.month,
            weekday=WEEKDAY_FACTORS[day.weekday()],
            activity=activity(day),
            ends_month=(day + timedelta(days=1)).day == 1,
        )


class Company:
    """A tenant and its customers; only those who may still do something are kept."""

    def __init__(self, company_id: str, profile: CompanyProfile, scale: float, rng: Random, stream: Stream) -> None:
        """Begin without customers."""
        self._profile = profile
        self._size = profile.size * scale
        self._rng = rng
        self._recorder = Recorder(company_id, rng, stream)
        self._billing = Billing(rng, self._recorder)
        self._desk = SubscriptionDesk(company_id, profile.price_percent, rng, self._recorder, self._billing)
        self._registered = 0
        self._users: list[User] = []
        self._leaving: list[tuple[int, str, User]] = []

    def live_through(self, today: Today, market: Market) -> None:
        """Let everything of the day happen."""
        self._delete_users(today.day)
        self._desk.live_through(today.day)
        self._visit_users(today, market)
        if today.ends_month:
            self._invoice_usage(today.day)
        self._register_users(today)

    def _register_users(self, today: Today) -> None:
        growth = min(max(1 + self._profile.growth * today.months, GROWTH_FACTORS[0]), GROWTH_FACTORS[1])
        expected = REGISTRATIONS * growth
        if today.days < MOVE_DAYS:
            expected += FIRST_CUSTOMERS / MOVE_DAYS
        for _ in range(about(self._rng, expected * today.weekday * self._size)):
            self._register_user(moment(today.day, self._rng))

    def _register_user(self, at: int) -> None:
        rng = self._rng
        self._registered += 1
        currency = self._profile.currency
        if rng.random() < OTHER_CURRENCY_SHARE:
            currency = OTHER_CURRENCY[currency]
        user = User(
            id=f"user-{self._registered:06d}",
            currency=currency,
            engagement=ENGAGEMENTS[self._registered % len(ENGAGEMENTS)],
            trades=rng.random() < TRADER_SHARE,
        )
        self._users.append(user)
        self._recorder.record(at, user.id, "user.registered", metadata={"device": one_of(rng, DEVICES_BY_WEIGHT)})
        if rng.random() < SUBSCRIBES_AT_ONCE:
            self._desk.start(user, at + between(rng, 2 * MINUTE, 30 * MINUTE))

    def _visit_users(self, today: Today, market: Market) -> None:
        """Give each user one draw: a session, the end of all sessions, a subscription, or nothing."""
        random = self._rng.random
        somebody_fell_quiet = False
        for user in self._users:
            draw = random()
            if draw < user.engagement * today.activity:
                self._run_session(user, today.day, market)
            elif draw >= 1 - FALLS_QUIET:
                self._fall_quiet(user, today.day)
                somebody_fell_quiet = True
            elif draw >= 1 - FALLS_QUIET - SUBSCRIBES and user.subscription is None:
                self._desk.start(user, moment(today.day, self._rng))
        if somebody_fell_quiet:
            self._users = [user for user in self._users if not user.quiet]

    def _run_session(self, user: User, day: int, market: Market) -> None:
        rng = self._rng
        at = moment(day, rng)
        self._recorder.record(at, user.id, "user.login", metadata={"device": one_of(rng, DEVICES_BY_WEIGHT)})
        for _ in range(between(rng, 0, MAX_FEATURES)):
            at += between(rng, 1, LONGEST_PAUSE)
            self._recorder.record(at, user.id, one_of(rng, FEATURES_BY_WEIGHT))
        if user.trades and rng.random() < TRADES_IN_SESSION:
            at += between(rng, 1, LONGEST_PAUSE)
            # A session may go on after midnight, but trades are at the prices of this day.
            self._trade(user, min(at, (day + 1) * DAY - 1), market)

    def _trade(self, user: User, at: int, market: Market) -> None:
        """Move crypto worth a few hundred, at the price of the day; a swap names what it gave."""
        rng = self._rng
        asset = one_of(rng, ASSETS)
        price = market.price(asset, user.currency)
        share = rng.random()
        cents = LEAST_TRADE + int(share * share * share * (MAX_TRADE - LEAST_TRADE))
        quantity = quantity_worth(cents, price)
        worth = cents_worth(quantity, price)
        event_type = one_of(rng, TRADES_BY_WEIGHT)
        metadata: Metadata = {
            "fiat_value": decimal_text(worth, FIAT_PLACES),
            "fiat_currency": user.currency,
        }
        if event_type == "crypto.swapped":
            other = ASSETS[1 - ASSETS.index(asset)]
            received = quantity_worth(worth, market.price(other, user.currency))
            metadata["to_currency"] = other
            metadata["to_quantity"] = decimal_text(received, ASSET_PLACES)
        value = decimal_text(quantity, ASSET_PLACES)
        self._recorder.record(at, user.id, event_type, value=value, currency=asset, metadata=metadata)

    def _invoice_usage(self, day: int) -> None:
        for user in self._users:
            subscription = user.subscription
            if subscription is None or subscription.status is not Status.ACTIVE:
                continue
            if self._rng.random() < USAGE_INVOICED:
                reason: Metadata = {"subscription_id": subscription.id, "reason": "usage"}
                at = max(moment(day, self._rng), subscription.since + MINUTE)
                self._billing.charge(user, at, between(self._rng, *USAGE_CENTS), reason)

    def _fall_quiet(self, user: User, day: int) -> None:
        user.quiet = True
        if self._rng.random() < LEAVES:
            heappush(self._leaving, (day + between(self._rng, *LEAVES_AFTER_DAYS), user.id, user))

    def _delete_users(self, day: int) -> None:
        """Delete who is to leave today; who still has money on the way leaves the day after."""
        while self._leaving and self._leaving[0][0] <= day:
            _, _, user = heappop(self._leaving)
            if user.settled >= day * DAY:
                heappush(self._leaving, (user.settled // DAY + 1, user.id, user))
                continue
            at = moment(day, self._rng)
            if user.subscription is not None:
                self._desk.end(user.subscription, at)
            self._recorder.record(at + MINUTE, user.id, "user.deleted")
