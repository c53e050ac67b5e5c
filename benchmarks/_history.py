"""A year of events for the benchmarks, and closing it without Dagster."""

from datetime import date

from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.tables import GRANULARITIES, METRIC_TABLES, close_metric
from analytics_pipeline.metrics.users import update_users
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Granularity, Window

YEAR = Window.of_dates(date(2025, 1, 1), date(2025, 12, 31))
COMPANIES = 100

# A hundred users of each company, four kinds of events spread evenly over the span.
_EVENTS = """
INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, value, currency)
SELECT
    gen_random_uuid(),
    %(start)s::timestamptz + (%(end)s::timestamptz - %(start)s::timestamptz) * (i / %(events)s::float8),
    'company-' || i %% %(companies)s,
    'user-' || i::bigint * 7919 %% (%(companies)s * 100),
    (ARRAY['payment.received', 'user.login', 'crypto.received', 'invoice.created'])[1 + i %% 4],
    (ARRAY['revenue', 'user_activity', 'crypto', 'billing'])[1 + i %% 4],
    CASE WHEN i %% 4 = 1 THEN NULL ELSE 10 + i %% 90 END,
    CASE WHEN i %% 4 = 1 THEN NULL WHEN i %% 4 = 2 THEN 'BTC' ELSE 'EUR' END
FROM generate_series(0, %(events)s - 1) AS i
"""
# Each of which starts somewhere in the first half of the year and is changed once in the second.
_SUBSCRIPTIONS = """
INSERT INTO analytics_events (
    event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata
)
SELECT
    gen_random_uuid(),
    c.at,
    'company-' || i %% %(companies)s, 'user-' || i, c.event_type, 'subscription', c.price, 'EUR',
    jsonb_build_object(
        'subscription_id', 'subscription-' || i, 'interval', 'month', 'interval_count', 1, 'quantity', 1,
        'status', c.status
    )
FROM generate_series(0, %(subscriptions)s - 1) AS i
CROSS JOIN LATERAL (
    VALUES
        (%(start)s::timestamptz + interval '180 days' * (i / %(subscriptions)s::float8),
         'subscription.started', 10 + i %% 90, 'active'),
        (%(start)s::timestamptz + interval '181 days' + interval '180 days' * (i / %(subscriptions)s::float8),
         CASE WHEN i %% 3 = 0 THEN 'subscription.ended' ELSE 'subscription.changed' END,
         20 + i %% 90, CASE WHEN i %% 3 = 0 THEN 'ended' ELSE 'active' END)
) AS c (at, event_type, price, status)
"""


def fill(
    connection: Connection, events: int, *, subscriptions: int = 0, companies: int = COMPANIES, span: Window = YEAR
) -> None:
    """Store events spread over a span, and two changes each of so many subscriptions in its first year."""
    values = {"start": span.start, "end": span.end, "companies": companies}
    connection.execute(_EVENTS, {**values, "events": events})
    if subscriptions:
        connection.execute(_SUBSCRIPTIONS, {**values, "subscriptions": subscriptions})
    connection.execute("ANALYZE analytics_events")


def close_inputs(connection: Connection) -> None:
    """Close what the figures of the year stand on: aggregates, then users and subscriptions."""
    for granularity in Granularity:
        for aggregate in AGGREGATES:
            if aggregate.granularity is granularity:
                refresh(connection, aggregate, YEAR)
    update_users(connection, YEAR)
    update_subscriptions(connection, YEAR)


def close(connection: Connection) -> None:
    """Close the year as the jobs do: what figures stand on, then the metric tables."""
    close_inputs(connection)
    for granularity in GRANULARITIES:
        for table in METRIC_TABLES:
            close_metric(connection, table, granularity, YEAR, "EUR")
