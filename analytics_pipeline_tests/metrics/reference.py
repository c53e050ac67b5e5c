"""MRR and what moved it, worked out again from the events in exact fractions: a second reading of DEFINITIONS."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import groupby
from uuid import UUID

from analytics_pipeline.events.model import AnalyticsEvent

MONTHS = {"day": Fraction(12, 365), "week": Fraction(12, 52), "month": Fraction(1), "year": Fraction(12)}
GAINS = ("new", "reactivation", "expansion")
LOSSES = ("contraction", "churn")
DAYS_VALID = timedelta(days=7)

Rate = Callable[[str, date], Fraction | None]
# The date of an instant.
Dated = Callable[[datetime], date]
# What one unit of the first currency costs in the second, by day.
Quotes = Mapping[tuple[str, str], Mapping[date, Fraction]]
Arrivals = Mapping[UUID, datetime]


def rate_between(quotes: Quotes, sold: str, bought: str, day: date) -> Fraction | None:
    """Return what a unit costs: 1, or by the pair's newest own rate, or else by the newest rates of two legs."""
    if sold == bought:
        return Fraction(1)
    if own := _own_rate(quotes, sold, bought, day):
        return own[1]
    paths = []
    for via in sorted({currency for pair in quotes for currency in pair} - {sold, bought}):
        legs = [_own_rate(quotes, sold, via, day), _own_rate(quotes, via, bought, day)]
        if legs[0] and legs[1]:
            paths.append((min(legs[0][0], legs[1][0]), legs[0][1] * legs[1][1]))
    # The first of those whose older leg is the newest.
    return max(paths, key=lambda path: path[0])[1] if paths else None


def _own_rate(quotes: Quotes, sold: str, bought: str, day: date) -> tuple[date, Fraction] | None:
    found = [(at, 1, quote) for at, quote in quotes.get((sold, bought), {}).items()]
    found += [(at, 0, 1 / quote) for at, quote in quotes.get((bought, sold), {}).items()]
    valid = [each for each in found if timedelta(0) <= day - each[0] <= DAYS_VALID]
    if not valid:
        return None
    at, _, quote = max(valid)
    return at, quote


@dataclass(frozen=True)
class State:
    """A subscription from an instant on."""

    since: datetime
    status: str
    mrr: Fraction
    currency: str | None
    user: str | None


def histories(events: Iterable[AnalyticsEvent], arrivals: Arrivals | None = None) -> dict[str, list[State]]:
    """Return the states of every subscription, in order, each with the user who has it then.

    Without ``arrivals`` all events arrived together.
    """
    by_subscription: defaultdict[str, list[AnalyticsEvent]] = defaultdict(list)
    for event in events:
        by_subscription[event.metadata["subscription_id"]].append(event)
    return {name: _owned(_states(each, arrivals or {})) for name, each in by_subscription.items()}


def _states(events: list[AnalyticsEvent], arrivals: Arrivals) -> list[State]:
    states: list[State] = []
    for instant, together in groupby(sorted(events, key=lambda e: e.timestamp), key=lambda e: e.timestamp):
        ran = bool(states) and states[-1].status != "ended"
        ordered = _in_order(list(together), arrivals, ran=ran)
        last = ordered[-1]
        user = next((event.user_id for event in reversed(ordered) if event.user_id), None)
        states.append(State(instant, last.metadata["status"], _mrr(last), last.currency, user))
    return states


def _in_order(together: list[AnalyticsEvent], arrivals: Arrivals, *, ran: bool) -> list[AnalyticsEvent]:
    """Order the changes of one instant: by sequence, an end first or last, by arrival, by id."""
    sequences = {event.event_id: _number(event.metadata.get("sequence")) for event in together}
    numbered = None not in sequences.values()

    def place(event: AnalyticsEvent) -> tuple[object, ...]:
        is_end = event.metadata["status"] == "ended"
        return (
            sequences[event.event_id] if numbered else 0,
            is_end != ran,
            arrivals.get(event.event_id, event.timestamp),
            event.event_id.int,
        )

    return sorted(together, key=place)


def _number(sequence: object) -> Fraction | None:
    try:
        return Fraction(str(sequence))
    except ValueError:
        return None


def _mrr(event: AnalyticsEvent) -> Fraction:
    if event.metadata["status"] not in ("active", "past_due") or event.value is None:
        return Fraction(0)
    months = MONTHS[event.metadata["interval"]] * int(event.metadata["interval_count"])
    return Fraction(event.value) * int(event.metadata["quantity"]) / months


def _owned(states: list[State]) -> list[State]:
    """A change that names nobody is of the user named last, or else of the one named first."""
    owner = next((state.user for state in states if state.user), None)
    owned = []
    for state in states:
        owner = state.user or owner
        owned.append(replace(state, user=owner))
    return owned


@dataclass(frozen=True)
class Held:
    """What one customer holds just before an instant."""

    mrr: Mapping[str, Fraction]
    paused: bool
    paid_before: bool


def held_before(lives: Mapping[str, list[State]], instant: datetime) -> dict[str, Held]:
    """Return every customer's MRR by currency, those above zero, and whether they are paused, or have ever paid."""
    past = {name: [state for state in states if state.since < instant] for name, states in lives.items()}
    customers = {_customer(name, state) for name, states in past.items() for state in states}
    return {customer: _held(customer, past) for customer in customers}


def _customer(name: str, state: State) -> str:
    return f"user {state.user}" if state.user else f"subscription {name}"


def _held(customer: str, past: Mapping[str, list[State]]) -> Held:
    mrr: defaultdict[str, Fraction] = defaultdict(Fraction)
    paused = paid_before = False
    for name, states in past.items():
        paid = any(state.mrr > 0 for state in states if _customer(name, state) == customer)
        paid_before = paid_before or paid
        if states and _customer(name, states[-1]) == customer:
            paused = paused or (paid and states[-1].status == "paused")
            if states[-1].mrr and states[-1].currency:
                mrr[states[-1].currency] += states[-1].mrr
    return Held(mrr, paused, paid_before)


NOTHING = Held({}, paused=False, paid_before=False)


@dataclass(frozen=True)
class Bridge:
    """Start, end and the movements between, converted; and what is left out of them, by part and currency."""

    moved: Mapping[str, Fraction]
    left_out: Mapping[tuple[str, str], tuple[Fraction, date, date]]


def movements(
    lives: Mapping[str, list[State]], start: datetime, end: datetime, rate: Rate, dated: Dated = datetime.date
) -> Bridge:
    """Return the bridge; of what a customer pays in a currency all is left out when a part of it has no rate.

    Rates are of the dates that ``dated`` gives: those of UTC, unless it is another calendar's.
    """
    first_day, last_day = _last_day(start, dated), _last_day(end, dated)
    at_start, at_end = held_before(lives, start), held_before(lives, end)
    steps = _steps(lives, start, end)
    moved = {name: Fraction(0) for name in (*GAINS, *LOSSES)}
    opening = closing = Fraction(0)
    left_out: dict[tuple[str, str], tuple[Fraction, date, date]] = {}
    for customer in at_start.keys() | at_end.keys():
        before, after = at_start.get(customer, NOTHING), at_end.get(customer, NOTHING)
        kept, missing = Fraction(0), []
        for currency in before.mrr.keys() | after.mrr.keys():
            first, last = before.mrr.get(currency, Fraction(0)), after.mrr.get(currency, Fraction(0))
            at_first, at_last = rate(currency, first_day), rate(currency, last_day)
            changes = steps.get(customer, {}).get(currency, {})
            net = _convert(last - first, changes, currency, rate, dated)
            if (first and at_first is None) or (last and at_last is None) or net is None:
                missing.append((currency, last - first))
                if first:
                    _add(left_out, ("start", currency), first, [first_day])
                if last and at_last is not None:
                    _add(left_out, ("end", currency), last, [last_day])
            else:
                opening += first * (at_first or 0)
                closing += last * (at_last or 0)
                kept += net
        if kept and (kind := _kind(before, after, kept)):
            moved[kind] += kept if kind in GAINS else -kept
        for currency, net in missing:
            if net and (kind := _kind(before, after, net)):
                days = _days_to_list(net, steps[customer][currency], currency, rate, dated)
                _add(left_out, (kind, currency), abs(net), days)
    known = sum(moved[name] for name in GAINS) - sum(moved[name] for name in LOSSES)
    return Bridge({"start": opening, **moved, "fx": closing - opening - known, "end": closing}, left_out)


def _add(
    left_out: dict[tuple[str, str], tuple[Fraction, date, date]],
    key: tuple[str, str],
    amount: Fraction,
    days: Sequence[date],
) -> None:
    so_far, first, last = left_out.get(key, (Fraction(0), date.max, date.min))
    left_out[key] = so_far + amount, min(first, *days), max(last, *days)


def _days_to_list(
    net: Fraction, changes: Mapping[datetime, Fraction], currency: str, rate: Rate, dated: Dated
) -> list[date]:
    days = [dated(at) for at, amount in changes.items() if amount * net > 0]
    return [day for day in days if rate(currency, day) is None] or days


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


def _convert(
    net: Fraction, changes: Mapping[datetime, Fraction], currency: str, rate: Rate, dated: Dated
) -> Fraction | None:
    """Convert a net at the average rate of the changes that go its way, each at the rate of its own day."""
    if not net:
        return net
    same_way = {at: amount for at, amount in changes.items() if amount * net > 0}
    rates = {at: rate(currency, dated(at)) for at in same_way}
    amounts = [(amount, rates[at]) for at, amount in same_way.items()]
    if any(one is None for _, one in amounts):
        return None
    converted = sum((amount * one for amount, one in amounts if one is not None), Fraction(0))
    return converted * net / sum(same_way.values())


def _last_day(instant: datetime, dated: Dated) -> date:
    return dated(instant - timedelta(microseconds=1))


def paying_customers(lives: Mapping[str, list[State]], instant: datetime) -> int:
    return sum(bool(held.mrr) for held in held_before(lives, instant).values())
