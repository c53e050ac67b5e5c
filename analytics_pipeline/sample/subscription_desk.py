"""The life of a subscription: trial, renewals, changes, pauses, failed payments, cancellation, end."""

from calendar import monthrange
from datetime import date
from random import Random

from analytics_pipeline.sample.billing import Billing
from analytics_pipeline.sample.chance import between, one_of
from analytics_pipeline.sample.customers import Status, Subscription, User
from analytics_pipeline.sample.market import FIAT_PLACES
from analytics_pipeline.sample.profiles import (
    MONTHLY,
    PLANS_BY_WEIGHT,
    QUANTITIES_BY_WEIGHT,
    TIERS_BY_WEIGHT,
    YEARLY,
    Plan,
)
from analytics_pipeline.sample.seasons import moment
from analytics_pipeline.sample.stream import DAY, MINUTE, Metadata, Recorder, decimal_text

TRIAL_SHARE = 0.35
TRIAL_DAYS = 14
TRIAL_CONVERTS = 0.7

PAYMENT_FAILS = 0.03
DUNNING_DELAY = 30 * MINUTE
GRACE_DAYS = (4, 14)
PAYMENT_RECOVERS = 0.7

PAUSE_DAYS = (14, 75)

LEAST_PRORATION = 1_00

# Shares of the active subscriptions to which this happens on a day.
UPGRADES = 0.0014
DOWNGRADES = 0.0006
QUANTITY_RISES = 0.0016
QUANTITY_FALLS = 0.0007
GOES_YEARLY = 0.0003
PAUSES = 0.0006
CANCELS = 0.0008
CANCELS_WHEN_QUIET = 0.06

_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}


class SubscriptionDesk:
    """Keeps the subscriptions of one company."""

    def __init__(self, company_id: str, price_percent: int, rng: Random, recorder: Recorder, billing: Billing) -> None:
        """Open without subscriptions; prices are ``price_percent`` of the price list."""
        self._company_id = company_id
        self._price_percent = price_percent
        self._rng = rng
        self._recorder = recorder
        self._billing = billing
        self._started = 0
        self._subscriptions: list[Subscription] = []
        self._changes = (
            (UPGRADES, self._upgrade),
            (DOWNGRADES, self._downgrade),
            (QUANTITY_RISES, self._add_units),
            (QUANTITY_FALLS, self._drop_unit),
            (GOES_YEARLY, self._go_yearly),
            (PAUSES, self._pause),
            (CANCELS, self._cancel),
        )

    def start(self, user: User, at: int) -> None:
        """Let the user subscribe at the second ``at``, on trial or paying at once."""
        self._started += 1
        subscription = Subscription(
            id=f"{self._company_id}-sub-{self._started:05d}",
            user=user,
            plan=one_of(self._rng, PLANS_BY_WEIGHT),
            tier=one_of(self._rng, TIERS_BY_WEIGHT),
            quantity=one_of(self._rng, QUANTITIES_BY_WEIGHT),
            price_percent=self._price_percent,
            status=Status.ACTIVE,
            anchor=at // DAY,
            period_start=at // DAY,
            due=at // DAY + TRIAL_DAYS,
        )
        user.subscription = subscription
        self._subscriptions.append(subscription)
        if self._rng.random() < TRIAL_SHARE:
            self._record(subscription, at, "started", Status.TRIALING)
        else:
            self._record(subscription, at, "started", Status.ACTIVE)
            self._begin_periods(subscription, at)

    def end(self, subscription: Subscription, at: int) -> None:
        """End the subscription, whatever its state, and write off what was not paid."""
        if subscription.open_invoice is not None:
            self._billing.credit(subscription.user, at, subscription.amount, subscription.open_invoice)
        self._record(subscription, at, "ended", Status.ENDED)
        subscription.user.subscription = None

    def live_through(self, day: int) -> None:
        """Let the day pass for every subscription there is: what is due, else perhaps a change."""
        self._subscriptions = [held for held in self._subscriptions if held.status is not Status.ENDED]
        for subscription in self._subscriptions:
            if subscription.since >= day * DAY:
                continue
            if subscription.due <= day:
                self._move_on(subscription, moment(day, self._rng))
            elif subscription.status is Status.ACTIVE and not subscription.cancelling:
                self._perhaps_change(subscription, day)

    def _move_on(self, subscription: Subscription, at: int) -> None:
        match subscription.status:
            case Status.ACTIVE if not subscription.cancelling:
                self._bill_period(subscription, at)
            case Status.TRIALING if self._rng.random() < TRIAL_CONVERTS:
                self._record(subscription, at, "changed", Status.ACTIVE)
                self._begin_periods(subscription, at)
            case Status.PAST_DUE if self._rng.random() < PAYMENT_RECOVERS:
                self._recover(subscription, at)
            case Status.PAUSED:
                self._record(subscription, at, "resumed", Status.ACTIVE)
                self._begin_periods(subscription, at)
            case _:
                self.end(subscription, at)

    def _perhaps_change(self, subscription: Subscription, day: int) -> None:
        draw = self._rng.random()
        if subscription.user.quiet and draw < CANCELS_WHEN_QUIET:
            self._cancel(subscription, moment(day, self._rng))
            return
        for share, change in self._changes:
            if draw < share:
                change(subscription, moment(day, self._rng))
                return
            draw -= share

    def _upgrade(self, subscription: Subscription, at: int) -> None:
        if subscription.tier + 1 < len(subscription.plan.tiers):
            before = subscription.amount
            subscription.tier += 1
            self._change_amount(subscription, at, before)

    def _downgrade(self, subscription: Subscription, at: int) -> None:
        if subscription.tier > 0:
            before = subscription.amount
            subscription.tier -= 1
            self._change_amount(subscription, at, before)

    def _add_units(self, subscription: Subscription, at: int) -> None:
        before = subscription.amount
        subscription.quantity += between(self._rng, 1, 3)
        self._change_amount(subscription, at, before)

    def _drop_unit(self, subscription: Subscription, at: int) -> None:
        if subscription.quantity > 1:
            before = subscription.amount
            subscription.quantity -= 1
            self._change_amount(subscription, at, before)

    def _change_amount(self, subscription: Subscription, at: int, before: int) -> None:
        """Record the change; a rise is charged at once for the rest of the period, unless it is petty."""
        self._record(subscription, at, "changed", Status.ACTIVE)
        rest = subscription.due - at // DAY
        period = subscription.due - subscription.period_start
        proration = (subscription.amount - before) * rest // period
        if proration >= LEAST_PRORATION:
            self._billing.charge(subscription.user, at, proration, _reason(subscription, "proration"))

    def _go_yearly(self, subscription: Subscription, at: int) -> None:
        if subscription.plan is MONTHLY:
            subscription.plan = YEARLY
            self._record(subscription, at, "changed", Status.ACTIVE)
            self._begin_periods(subscription, at)

    def _pause(self, subscription: Subscription, at: int) -> None:
        subscription.due = at // DAY + between(self._rng, *PAUSE_DAYS)
        self._record(subscription, at, "paused", Status.PAUSED)

    def _cancel(self, subscription: Subscription, at: int) -> None:
        subscription.cancelling = True
        self._record(subscription, at, "cancel_scheduled", Status.ACTIVE)

    def _begin_periods(self, subscription: Subscription, at: int) -> None:
        subscription.anchor = at // DAY
        subscription.periods = 0
        self._bill_period(subscription, at)

    def _bill_period(self, subscription: Subscription, at: int) -> None:
        """Charge the period that begins; a payment that fails makes the subscription past due."""
        subscription.period_start = at // DAY
        subscription.due = _next_due(subscription, at // DAY)
        reason = _reason(subscription, "renewal" if subscription.period_start > subscription.anchor else "start")
        if self._rng.random() >= PAYMENT_FAILS:
            self._billing.charge(subscription.user, at, subscription.amount, reason)
            return
        subscription.open_invoice = self._billing.invoice(subscription.user, at, subscription.amount, reason)
        subscription.due = at // DAY + between(self._rng, *GRACE_DAYS)
        self._record(subscription, at + DUNNING_DELAY, "past_due", Status.PAST_DUE)

    def _recover(self, subscription: Subscription, at: int) -> None:
        if subscription.open_invoice is not None:
            self._billing.pay(subscription.user, at, subscription.amount, subscription.open_invoice)
            subscription.open_invoice = None
        subscription.due = _next_due(subscription, at // DAY)
        self._record(subscription, at, "changed", Status.ACTIVE)

    def _record(self, subscription: Subscription, at: int, what: str, status: Status) -> None:
        """Put the subscription into the status and record the event that says so."""
        subscription.status = status
        subscription.since = at
        user = subscription.user
        user.settled = max(user.settled, at)
        metadata: Metadata = {
            "subscription_id": subscription.id,
            "interval": subscription.plan.interval,
            "interval_count": subscription.plan.interval_count,
            "quantity": subscription.quantity,
            "status": status.value,
        }
        price = decimal_text(subscription.price, FIAT_PLACES)
        self._recorder.record(
            at, user.id, f"subscription.{what}", value=price, currency=user.currency, metadata=metadata
        )


def _reason(subscription: Subscription, why: str) -> Metadata:
    return {"subscription_id": subscription.id, "reason": why}


def _next_due(subscription: Subscription, day: int) -> int:
    """Count periods from the anchor up to the first one that begins after the day, and return that day."""
    while True:
        subscription.periods += 1
        due = _shifted(subscription.anchor, subscription.plan, subscription.periods)
        if due > day:
            return due


def _shifted(anchor: int, plan: Plan, periods: int) -> int:
    """Return the day that lies so many periods after the anchor; a short month ends early."""
    count = periods * plan.interval_count
    if plan.interval in _DAYS:
        return anchor + count * _DAYS[plan.interval]
    first = date.fromordinal(anchor)
    years, month = divmod(first.month - 1 + count * _MONTHS[plan.interval], 12)
    year = first.year + years
    return date(year, month + 1, min(first.day, monthrange(year, month + 1)[1])).toordinal()
