"""The continuous aggregates, declared once.

Assets, checks, policies, reconciliation and documentation are generated from these entries. An
entry says what its rows must equal, over the raw events, however many levels it is built on; the
relation itself is created by a migration. To add one: a migration, and an entry here. To change one: the entry, and
"analytics-pipeline db rebuild" in each database that has it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.windows import Granularity

_ACTIVITY = (
    "category IN ('revenue', 'user_activity', 'crypto') AND event_type <> 'user.deleted' AND user_id IS NOT NULL"
)
_REVENUE_MEASURES = {
    "total_value": "sum(value)",
    "refund_value": "sum(value) FILTER (WHERE event_type = 'payment.refunded')",
    "event_count": "count(*)",
}
_CRYPTO_MEASURES = {"total_value": "sum(value)", "event_count": "count(*)"}


@dataclass(frozen=True, slots=True)
class Column:
    """PostgreSQL type and meaning of a column, the same in every aggregate that has it.

    ``is_amount``: it is in the currency of its row.
    """

    type: str
    description: str
    is_amount: bool = False


COLUMNS: Mapping[str, Column] = {
    "bucket": Column("timestamptz", "Start of the bucket, UTC; the bucket is half-open."),
    "company_id": Column("text", "The tenant."),
    "user_id": Column("text", "The user within the company."),
    "currency": Column("text", "ISO 4217 code or crypto ticker; amounts of different currencies are never added."),
    "category": Column("text", "Category of the events."),
    "event_type": Column("text", "Type of the events."),
    "total_value": Column("numeric", "Exact sum of the events' values, in the currency.", is_amount=True),
    "refund_value": Column("numeric", "The part of total_value that was refunded, negative or null.", is_amount=True),
    "credit_value": Column("numeric", "The part of total_value that was credited, negative or null.", is_amount=True),
    "active_users": Column("bigint", "Distinct users in the bucket; not to be summed over buckets."),
    "event_count": Column("bigint", "Number of raw events behind the row."),
    "first_at": Column("timestamptz", "First of the events behind the row; null: stored before it was kept."),
    "last_at": Column("timestamptz", "Last of the events behind the row; null: stored before it was kept."),
}


@dataclass(frozen=True, slots=True)
class RefreshPolicy:
    """Arguments of TimescaleDB's own refresh policy, as PostgreSQL intervals.

    The window ``[now - start_offset, now - end_offset)`` holds at least two buckets, as TimescaleDB
    demands, and lies inside the shortest retention that is allowed.
    """

    start_offset: str
    end_offset: str
    schedule_interval: str


_REFRESH = {
    Granularity.HOUR: RefreshPolicy("3 days", "1 hour", "1 hour"),
    Granularity.DAY: RefreshPolicy("7 days", "1 day", "1 day"),
    Granularity.MONTH: RefreshPolicy("3 months", "1 month", "1 day"),
}


@dataclass(frozen=True, slots=True)
class ContinuousAggregate:
    """One continuous aggregate.

    ``source`` is the relation it is built on; ``measures`` maps each column to the SQL expression
    that gives it from the raw events among those that ``condition`` (SQL) selects.
    """

    name: str
    description: str
    granularity: Granularity
    dimensions: tuple[str, ...]
    measures: Mapping[str, str] = field(hash=False)
    source: str = EVENTS
    condition: str = "true"

    @property
    def columns(self) -> tuple[str, ...]:
        """The relation's columns in order."""
        return ("bucket", *self.dimensions, *self.measures)

    @property
    def refresh_policy(self) -> RefreshPolicy:
        """The refresh policy of its granularity."""
        return _REFRESH[self.granularity]


AGGREGATES: tuple[ContinuousAggregate, ...] = (
    ContinuousAggregate(
        name="analytics_revenue_hourly",
        description="Payments received minus refunds per hour, company and currency (cash basis).",
        granularity=Granularity.HOUR,
        dimensions=("company_id", "currency"),
        measures=_REVENUE_MEASURES,
        condition="category = 'revenue'",
    ),
    ContinuousAggregate(
        name="analytics_revenue_daily",
        description="Payments received minus refunds per day, company and currency (cash basis).",
        granularity=Granularity.DAY,
        dimensions=("company_id", "currency"),
        measures=_REVENUE_MEASURES,
        source="analytics_revenue_hourly",
        condition="category = 'revenue'",
    ),
    ContinuousAggregate(
        name="analytics_revenue_monthly",
        description="Payments received minus refunds per month, company and currency (cash basis).",
        granularity=Granularity.MONTH,
        dimensions=("company_id", "currency"),
        measures=_REVENUE_MEASURES,
        source="analytics_revenue_daily",
        condition="category = 'revenue'",
    ),
    ContinuousAggregate(
        name="analytics_billing_daily",
        description="Invoices minus credit notes, ex tax, per day, company and currency.",
        granularity=Granularity.DAY,
        dimensions=("company_id", "currency"),
        measures={
            "total_value": "sum(value)",
            "credit_value": "sum(value) FILTER (WHERE event_type = 'invoice.credited')",
            "event_count": "count(*)",
        },
        condition="category = 'billing'",
    ),
    ContinuousAggregate(
        name="analytics_user_activity_daily",
        description="Distinct active users per day and company; never to be summed over days.",
        granularity=Granularity.DAY,
        dimensions=("company_id",),
        measures={"active_users": "count(DISTINCT user_id)", "event_count": "count(*)"},
        condition=_ACTIVITY,
    ),
    ContinuousAggregate(
        name="analytics_user_activity_monthly",
        description="One row per user active in a month: the grain over which distinct users are counted.",
        granularity=Granularity.MONTH,
        dimensions=("company_id", "user_id"),
        measures={"event_count": "count(*)", "first_at": 'min("timestamp")', "last_at": 'max("timestamp")'},
        condition=_ACTIVITY,
    ),
    ContinuousAggregate(
        name="analytics_crypto_daily",
        description="Crypto quantities per day, company, ticker and event type.",
        granularity=Granularity.DAY,
        dimensions=("company_id", "currency", "event_type"),
        measures=_CRYPTO_MEASURES,
        condition="category = 'crypto'",
    ),
    ContinuousAggregate(
        name="analytics_crypto_monthly",
        description="Crypto quantities per month, company, ticker and event type.",
        granularity=Granularity.MONTH,
        dimensions=("company_id", "currency", "event_type"),
        measures=_CRYPTO_MEASURES,
        source="analytics_crypto_daily",
        condition="category = 'crypto'",
    ),
    ContinuousAggregate(
        name="analytics_event_volume_hourly",
        description="Number of events per hour, company, category and event type.",
        granularity=Granularity.HOUR,
        dimensions=("company_id", "category", "event_type"),
        measures={"event_count": "count(*)"},
    ),
)

# The aggregate whose invalidation log says of which days the events have changed, for what is made of the events of
# whole days beside the aggregates: every change of an event is in the log of every aggregate that is built on events.
LOGS_DAYS = next(a.name for a in AGGREGATES if a.granularity is Granularity.DAY and a.source == EVENTS)
