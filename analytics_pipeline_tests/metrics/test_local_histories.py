"""Figures of companies in many time zones, counted again event by event in Python with its own data of zones.

Each history is a company with its own zone and currency; all of a batch are in one database and are asked for at once.
The dates end with 2025: later ones are not the same in the data of zones of Python and of the database.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from uuid import UUID

import pytest

from analytics_pipeline.events.bulk_load import EventLoader
from analytics_pipeline.events.model import AnalyticsEvent, check_event
from analytics_pipeline.metrics.periods import split_window
from analytics_pipeline.metrics.revenue import mrr_figures, revenue_figures
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.users import UserMetrics, update_users, user_figures
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.metrics.local_calendar import A_DAY, LocalCalendar
from analytics_pipeline_tests.metrics.reference import Quotes, histories, movements, paying_customers, rate_between
from analytics_pipeline_tests.metrics.reference_users import users_of

# 200 histories take minutes.
ALL_HISTORIES = 200
BATCH = 20
SPRING = date(2025, 2, 1)
# Where clocks are put forward or back within the three months: at midnight, over it, by half an hour, by a whole day.
ZONES = {
    "Pacific/Auckland": SPRING,
    "Asia/Kathmandu": SPRING,
    "Australia/Lord_Howe": SPRING,
    "America/New_York": SPRING,
    "Pacific/Apia": date(2011, 11, 1),
    "Africa/Casablanca": SPRING,
    "America/Sao_Paulo": date(2018, 10, 1),
    "Europe/Berlin": SPRING,
    "America/Havana": SPRING,
    "America/St_Johns": SPRING,
    "Atlantic/Azores": SPRING,
    "Asia/Tokyo": SPRING,
}
# Exact sums of fractions that SQL has rounded to 40 places each.
CLOSE = Fraction(1, 10**25)
KINDS = ["payment.received", "payment.received", "payment.refunded", "invoice.created", "invoice.credited"]
KINDS += ["user.login", "user.login", "user.deleted", "crypto.received", "subscription"]
CATEGORIES = {"payment": "revenue", "invoice": "billing", "user": "user_activity", "crypto": "crypto"}
LIFE = (("started", "active"), ("changed", "active"), ("paused", "paused"), ("resumed", "active"), ("ended", "ended"))


@dataclass(frozen=True)
class History:
    """A company: its calendar, currency and events, and the periods that it is asked about."""

    company: str
    calendar: LocalCalendar
    currency: str
    events: list[AnalyticsEvent]
    windows: list[Window]


def quotes(random: Random) -> Quotes:
    """Return rates of dollars and francs for some days of each span; of francs none for weeks."""
    found: dict[tuple[str, str], dict[date, Fraction]] = {("EUR", "USD"): {}, ("EUR", "CHF"): {}}
    for first in sorted(set(ZONES.values())):
        for number in range(-45, 110):
            day = first + number * A_DAY
            if day.weekday() < 5:
                found["EUR", "USD"][day] = Fraction(random.randint(80, 160), 100)
                if number < 30 or number > 50:
                    found["EUR", "CHF"][day] = Fraction(random.randint(80, 160), 100)
    return found


def a_history(random: Random, number: int, zone: str) -> History:
    first = ZONES[zone]
    calendar = LocalCalendar(zone, first - 70 * A_DAY, first + 150 * A_DAY)
    events = [an_event(random, calendar, first, number, place) for place in range(random.randint(15, 45))]
    return History(f"c{number}", calendar, random.choice(["EUR", "USD"]), events, windows_of(random, calendar, first))


def windows_of(random: Random, calendar: LocalCalendar, first: date) -> list[Window]:
    """Return months, single days (those on which clocks change among them), and a range of days."""
    changed = [
        day
        for day in (first + number * A_DAY for number in range(91))
        if calendar.start(day + A_DAY) - calendar.start(day) not in (A_DAY, timedelta(0))
    ]
    days = [*changed, *(first + random.randint(0, 88) * A_DAY for _ in range(2))]
    days = [day for day in days if calendar.start(day) < calendar.start(day + A_DAY)]
    begin = first + random.randint(0, 60) * A_DAY
    months = [calendar.month(first + number * A_DAY) for number in (0, 40, 62)]
    ranges = [(begin, begin + random.randint(1, 45) * A_DAY), (first, months[1].last_day)]
    return [*months, *(calendar.window(day, day) for day in days), *(calendar.window(*each) for each in ranges)]


def an_event(random: Random, calendar: LocalCalendar, first: date, company: int, place: int) -> AnalyticsEvent:
    day = first + random.randint(-20, 100) * A_DAY
    edge = calendar.start(random.choice([day, day.replace(day=1)]))
    shift = random.choice([0, -1, 1, -1_800_000_000, 900_000_000, 3_600_000_000, random.randrange(86_400_000_000)])
    kind = random.choice(KINDS)
    user = random.choice(["u1", "u2", "u3", "u4", "u5", None])
    value = Decimal(random.choice(["10", "19.99", "0.333333333333333333", "1000000.01"]))
    metadata: dict[str, object] = {}
    category = CATEGORIES.get(kind.partition(".")[0], "subscription")
    if kind == "subscription":
        what, status = random.choice(LIFE)
        kind = f"subscription.{what}"
        name = random.choice(["s1", "s2", "s3"])
        metadata = {"subscription_id": name, "interval": "month", "interval_count": 1, "quantity": 1, "status": status}
        user = f"u{name[1]}"
    event = AnalyticsEvent(
        UUID(int=company * 1_000_000 + place),
        edge + timedelta(microseconds=shift),
        f"c{company}",
        user,
        kind,
        category,
        -value if kind in ("payment.refunded", "invoice.credited") else value,
        "BTC" if category == "crypto" else random.choice(["EUR", "EUR", "USD", "USD", "CHF"]),
        metadata,
    )
    check_event(event)
    return event


@dataclass(frozen=True)
class Counted:
    """The figures of a period as the definitions have them, and how often something has no rate."""

    total: Fraction
    invoiced: Fraction
    refunds: Fraction
    growth: Fraction | None
    lacking: bool
    users: UserMetrics
    moved: Mapping[str, Fraction]
    paying: int


def counted(history: History, window: Window, rates: Quotes) -> Counted:
    events, calendar = history.events, history.calendar
    before = calendar.before(window)

    def rate(sold: str, day: date) -> Fraction | None:
        return rate_between(rates, sold, history.currency, day)

    def total(within: Window, wanted: Callable[[AnalyticsEvent], bool]) -> tuple[Fraction, bool]:
        amount, lacking = Fraction(0), False
        # Amounts of one currency and date are converted together: what adds up to nothing needs no rate.
        sums: defaultdict[tuple[str, date, bool], Fraction] = defaultdict(Fraction)
        for event in events:
            if within.start <= event.timestamp < within.end and wanted(event) and event.value and event.currency:
                is_refund = event.event_type == "payment.refunded"
                sums[event.currency, calendar.date_of(event.timestamp), is_refund] += Fraction(event.value)
        for (currency, day, _), sold in sums.items():
            price = rate(currency, day)
            lacking = lacking or (price is None and sold != 0)
            amount += sold * (price or 0)
        return amount, lacking

    revenue, lacks_revenue = total(window, lambda event: event.category == "revenue")
    previous, lacks_previous = total(before, lambda event: event.category == "revenue")
    lives = histories(event for event in events if event.category == "subscription")
    bridge = movements(lives, window.start, window.end, rate, calendar.date_of)
    known = previous > 0 and not lacks_revenue and not lacks_previous
    return Counted(
        total=revenue,
        invoiced=total(window, lambda event: event.category == "billing")[0],
        refunds=-total(window, lambda event: event.event_type == "payment.refunded")[0],
        growth=(revenue - previous) / previous * 100 if known else None,
        lacking=lacks_revenue,
        users=users_of(list(events), window, before),
        moved=bridge.moved,
        paying=paying_customers(lives, window.end),
    )


def hold(connection: Connection, told: Sequence[History], rates: Quotes) -> None:
    """Compare the answers of all companies, asked for at once, with what their events come to."""
    for currency in ("EUR", "USD"):
        asked = [(history, window) for history in told if history.currency == currency for window in history.windows]
        periods = [(history.company, window) for history, window in asked]
        found = zip(
            asked,
            revenue_figures(connection, periods, currency),
            mrr_figures(connection, periods, currency),
            user_figures(connection, periods),
            strict=True,
        )
        for (history, window), revenue, mrr, users in found:
            wanted = counted(history, window, rates)
            what = (history.company, history.calendar.zone, window, currency)
            figures = revenue.metrics
            assert figures.invoiced is not None
            for value, due in (
                (figures.total_revenue, wanted.total),
                (figures.invoiced, wanted.invoiced),
                (figures.refunds, wanted.refunds),
                *zip(astuple(mrr.movements), wanted.moved.values(), strict=True),
            ):
                assert abs(Fraction(value) - due) < CLOSE, what
            assert (figures.revenue_growth is None) == (wanted.growth is None), what
            if figures.revenue_growth is not None and wanted.growth is not None:
                assert abs(Fraction(figures.revenue_growth) - wanted.growth) < CLOSE, what
            assert figures.paying_customers == wanted.paying, what
            assert rounded(users.metrics) == rounded(wanted.users), what


def hold_all(connection: Connection, told: Sequence[History], zone: str) -> None:
    """Compare the users and the euros of all companies together, in the platform's zone, but for the test company."""
    history = next(each for each in told if each.calendar.zone == zone)
    for window in history.windows:
        before = history.calendar.before(window)
        of_each = [users_of(each.events, window, before) for each in told if each is not told[-1]]
        (users,) = user_figures(connection, [(None, window)])
        assert [getattr(users.metrics, name) for name in COUNTS] == [
            sum(getattr(one, name) for one in of_each) for name in COUNTS
        ]
        (revenue,) = revenue_figures(connection, [(None, window)], "EUR")
        paid = sum(
            Fraction(event.value or 0)
            for each in told[:-1]
            for event in each.events
            if event.category == "revenue"
            and window.start <= event.timestamp < window.end
            # The others have another rate each day.
            and event.currency == "EUR"
        )
        rows = connection.execute(
            "SELECT coalesce(sum(r.original), 0) FROM analytics_converted_revenue(ARRAY["
            "ROW(NULL, %s, %s, 'EUR', %s)::analytics_figure_period]) AS r "
            "WHERE r.figure = 'totalRevenue' AND r.currency = 'EUR'",
            [window.start, window.end, window.time_zone],
        )
        assert rows.fetchall() == [(paid,)]
        assert (revenue.metrics.total_users, revenue.is_empty) == (users.metrics.total_users, False)


MADE_OF = (
    "analytics_revenue_hourly", "analytics_revenue_daily", "analytics_billing_daily", "analytics_user_activity_monthly",
)  # fmt: skip
COUNTS = ("total_users", "active_users", "new_users", "churned_users", "users_at_start", "active_before")


def rounded(users: UserMetrics) -> list[object]:
    values = [getattr(users, name) for name in UserMetrics.__slots__]
    return [round(value, 20) if isinstance(value, Decimal) else value for value in values]


def spans_of(told: Iterable[History]) -> Iterator[Window]:
    """Yield the stretches of whole months that the histories lie in."""
    for first in sorted({ZONES[history.calendar.zone] for history in told}):
        start = datetime(first.year, first.month, 1, tzinfo=UTC) - timedelta(days=32)
        end = datetime(first.year, first.month, 1, tzinfo=UTC) + timedelta(days=125)
        yield Window(start.replace(day=1), end.replace(day=1))


def close(connection: Connection, spans: Iterable[Window]) -> None:
    """Close what these figures are made of."""
    for span in spans:
        for aggregate in AGGREGATES:
            if aggregate.name in MADE_OF:
                refresh(connection, aggregate, span)
        update_users(connection, span)
        update_subscriptions(connection, span)


def tell(connection: Connection, random: Random, zones: Sequence[str]) -> None:
    """Make a company of each zone, and hold its figures: before anything is closed, closed, and after late events."""
    rates = quotes(random)
    for (base, quote), by_day in rates.items():
        connection.execute(
            "INSERT INTO analytics_fx_rates (rate_date, base, quote, rate, source) "
            "SELECT day, %s, %s, price, 'x' FROM unnest(%s::date[], %s::numeric[]) AS r (day, price)",
            [base, quote, [*by_day], [Decimal(price.numerator) / price.denominator for price in by_day.values()]],
        )
    told = [a_history(random, number, zone) for number, zone in enumerate(zones, start=1)]
    connection.execute(
        "INSERT INTO analytics_companies (company_id, time_zone, is_test) VALUES (%s, %s, true)",
        [told[-1].company, told[-1].calendar.zone],
    )
    late = {history.company: history.events[::4] for history in told}
    early = [
        History(h.company, h.calendar, h.currency, [e for e in h.events if e not in late[h.company]], h.windows)
        for h in told
    ]
    EventLoader(connection).load([event for history in early for event in history.events])
    hold(connection, early, rates)
    hold_all(connection, early, zones[0])
    spans = list(spans_of(told))
    close(connection, spans)
    hold(connection, early, rates)
    hold_all(connection, early, zones[0])
    EventLoader(connection).load([event for events in late.values() for event in events])
    close(connection, spans)
    hold(connection, told, rates)
    hold_all(connection, told, zones[0])


@pytest.mark.slow
def test_figures_of_local_days_and_months_are_those_of_their_events(shared: Connection) -> None:
    # Brazil's clocks changed in other years, and each year takes its time to close.
    zones = [zone for zone in ZONES if zone not in ("Asia/Tokyo", "America/Sao_Paulo")]
    tell(shared, Random(1), zones)  # noqa: S311


@pytest.mark.fuzz
@pytest.mark.endurance
@pytest.mark.parametrize("batch", range(ALL_HISTORIES // BATCH))
def test_figures_of_many_histories_are_those_of_their_events(connection: Connection, batch: int) -> None:
    random = Random(int(os.environ.get("FUZZ_SEED", "0")) * 1_000 + batch)  # noqa: S311
    tell(connection, random, [random.choice(list(ZONES)) for _ in range(BATCH)])


def test_the_days_of_a_month_are_those_of_its_zone(shared: Connection) -> None:
    for zone, first in ZONES.items():
        calendar = LocalCalendar(zone, first - 5 * A_DAY, first + 100 * A_DAY)
        for number in (0, 40, 62):
            month = calendar.month(first + number * A_DAY)
            days = [month.first_day + n * A_DAY for n in range((month.last_day - month.first_day).days + 1)]
            assert split_window(shared, month, Granularity.DAY) == [
                calendar.window(day, day) for day in days if calendar.start(day) < calendar.start(day + A_DAY)
            ]
            assert split_window(shared, month, Granularity.MONTH) == [month]
