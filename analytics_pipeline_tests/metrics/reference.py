"""MRR and what moved it, worked out again from the events in exact fractions: a second reading of DEFINITIONS."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import groupby

from analytics_pipeline.events.model import AnalyticsEvent

# Which of several events of one instant counts: the last one here.
LIFE = ("started", "changed", "cancel_scheduled", "paused", "resumed", "past_due", "ended")
MONTHS = {"day": Fraction(12, 365), "week": Fraction(12, 52), "month": Fraction(1), "year": Fraction(12)}
GAINS = ("new", "reactivation", "expansion")
LOSSES = ("contraction", "churn")

Rate = Callable[[str, date], Fraction | None]


@dataclass(frozen=True)
class State:
    """A subscription from an instant on."""

    since: datetime
    status: str
    mrr: Fraction
    currency: str | None
    user: str | None
    was_paid: bool = False


def histories(events: Iterable[AnalyticsEvent]) -> dict[str, list[State]]:
    """Return the states of every subscription, in order, each with the user who has it then."""
    by_subscription: defaultdict[str, list[AnalyticsEvent]] = defaultdict(list)
    for event in events:
        by_subscription[event.metadata["subscription_id"]].append(event)
    return {name: _owned(_states(each)) for name, each in by_subscription.items()}


def _states(events: list[AnalyticsEvent]) -> list[State]:
    states = []
    for instant, together in groupby(sorted(events, key=_order), key=lambda event: event.timestamp):
        *others, last = together
        user = last.user_id or max((e.user_id for e in others if e.user_id), default=None)
        states.append(State(instant, last.metadata["status"], _mrr(last), last.currency, user))
    return states


def _order(event: AnalyticsEvent) -> tuple[datetime, int, int]:
    return event.timestamp, LIFE.index(event.event_type.removeprefix("subscription.")), event.event_id.int


def _mrr(event: AnalyticsEvent) -> Fraction:
    if event.metadata["status"] not in ("active", "past_due") or event.value is None:
        return Fraction(0)
    months = MONTHS[event.metadata["interval"]] * int(event.metadata["interval_count"])
    return Fraction(event.value) * int(event.metadata["quantity"]) / months


def _owned(states: list[State]) -> list[State]:
    """A change that names nobody is of the user named last, or else of the one named first."""
    owner = next((state.user for state in states if state.user), None)
    paid, owned = False, []
    for state in states:
        owner = state.user or owner
        paid = paid or state.mrr > 0
        owned.append(replace(state, user=owner, was_paid=paid))
    return owned


@dataclass(frozen=True)
class Held:
    """What one customer holds just before an instant."""

    mrr: Mapping[str, Fraction]
    paused: bool
    paid_before: bool


def held_before(lives: Mapping[str, list[State]], instant: datetime) -> dict[str, Held]:
    """Return every customer's MRR by currency, those above zero, and whether they are paused, or have ever paid."""
    latest = {
        name: [state for state in states if state.since < instant][-1]
        for name, states in lives.items()
        if states[0].since < instant
    }
    holding: defaultdict[str, list[State]] = defaultdict(list)
    for name, state in latest.items():
        holding[_customer(name, state)].append(state)
    return {customer: _held(states) for customer, states in holding.items()}


def _customer(name: str, state: State) -> str:
    return f"user {state.user}" if state.user else f"subscription {name}"


def _held(states: list[State]) -> Held:
    mrr: defaultdict[str, Fraction] = defaultdict(Fraction)
    for state in states:
        if state.mrr and state.currency:
            mrr[state.currency] += state.mrr
    return Held(
        mrr,
        paused=any(state.was_paid and state.status == "paused" for state in states),
        paid_before=any(state.was_paid for state in states),
    )


NOTHING = Held({}, paused=False, paid_before=False)


def movements(lives: Mapping[str, list[State]], start: datetime, end: datetime, rate: Rate) -> dict[str, Fraction]:
    """Return start, end and the movements between, converted; what has no rate is left out."""
    at_start, at_end = held_before(lives, start), held_before(lives, end)
    steps = _steps(lives, start, end)
    moved = {name: Fraction(0) for name in (*GAINS, *LOSSES)}
    for customer, changes in steps.items():
        before, after = at_start.get(customer, NOTHING), at_end.get(customer, NOTHING)
        nets = {
            currency: net
            for currency in changes
            if (net := after.mrr.get(currency, Fraction(0)) - before.mrr.get(currency, Fraction(0)))
        }
        converted = {currency: _convert(net, changes[currency], currency, rate) for currency, net in nets.items()}
        total = sum((amount for amount in converted.values() if amount is not None), Fraction(0))
        if nets and (kind := _kind(before, after, total)):
            moved[kind] += total if kind in GAINS else -total
    opening = _converted_balance(at_start, start, rate)
    closing = _converted_balance(at_end, end, rate)
    known = sum(moved[name] for name in GAINS) - sum(moved[name] for name in LOSSES)
    return {"start": opening, **moved, "fx": closing - opening - known, "end": closing}


def _kind(before: Held, after: Held, total: Fraction) -> str | None:
    if not before.mrr:
        return "expansion" if before.paused else "reactivation" if before.paid_before else "new"
    if not after.mrr:
        return "contraction" if after.paused else "churn"
    return "expansion" if total > 0 else "contraction" if total < 0 else None


def _steps(
    lives: Mapping[str, list[State]], start: datetime, end: datetime
) -> dict[str, dict[str, dict[datetime, Fraction]]]:
    """Return by how much each customer's MRR changed at each instant of the period, per currency."""
    steps: defaultdict[str, defaultdict[str, defaultdict[datetime, Fraction]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(Fraction))
    )
    for name, states in lives.items():
        for before, state in zip([None, *states], states, strict=False):
            if not start <= state.since < end:
                continue
            for sign, each in ((-1, before), (1, state)):
                if each is not None and each.mrr and each.currency:
                    steps[_customer(name, each)][each.currency][state.since] += sign * each.mrr
    return {customer: {c: dict(at) for c, at in by_currency.items()} for customer, by_currency in steps.items()}


def _convert(net: Fraction, changes: Mapping[datetime, Fraction], currency: str, rate: Rate) -> Fraction | None:
    """Convert a net at the average rate of the changes that go its way, each at the rate of its own day."""
    same_way = {at: amount for at, amount in changes.items() if amount * net > 0}
    rates = {at: rate(currency, at.date()) for at in same_way}
    amounts = [(amount, rates[at]) for at, amount in same_way.items()]
    if any(one is None for _, one in amounts):
        return None
    converted = sum((amount * one for amount, one in amounts if one is not None), Fraction(0))
    return converted * net / sum(same_way.values())


def _converted_balance(held: Mapping[str, Held], instant: datetime, rate: Rate) -> Fraction:
    day = (instant - timedelta(microseconds=1)).date()
    total = Fraction(0)
    for each in held.values():
        for currency, amount in each.mrr.items():
            total += amount * (rate(currency, day) or 0)
    return total


def paying_customers(lives: Mapping[str, list[State]], instant: datetime) -> int:
    return sum(bool(held.mrr) for held in held_before(lives, instant).values())
