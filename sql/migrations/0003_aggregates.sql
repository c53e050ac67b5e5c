-- The continuous aggregates of analytics_pipeline/timescale/aggregates.py. All are real-time
-- (materialized_only = false), all buckets are UTC, and none is filled here: a closed
-- partition is materialised by Dagster.

CREATE MATERIALIZED VIEW IF NOT EXISTS analytics_revenue_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(interval '1 hour', "timestamp") AS bucket,
    company_id,
    currency,
    sum(value) AS total_value,
    sum(value) FILTER (WHERE event_type = 'payment.refunded') AS refund_value,
    count(*) AS event_count
FROM analytics_events
WHERE category = 'revenue'
GROUP BY 1, 2, 3
WITH NO DATA;

CREATE MATERIALIZED VIEW IF NOT EXISTS analytics_revenue_daily
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(interval '1 day', bucket) AS bucket,
    company_id,
    currency,
    sum(total_value) AS total_value,
    sum(refund_value) AS refund_value,
    sum(event_count)::bigint AS event_count
FROM analytics_revenue_hourly
GROUP BY 1, 2, 3
WITH NO DATA;

CREATE MATERIALIZED VIEW IF NOT EXISTS analytics_revenue_monthly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(interval '1 month', bucket) AS bucket,
    company_id,
    currency,
    sum(total_value) AS total_value,
    sum(refund_value) AS refund_value,
    sum(event_count)::bigint AS event_count
FROM analytics_revenue_daily
GROUP BY 1, 2, 3
WITH NO DATA;

-- An active user did something of their own: billing and subscription events are the company's.
CREATE MATERIALIZED VIEW IF NOT EXISTS analytics_user_activity_daily
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(interval '1 day', "timestamp") AS bucket,
    company_id,
    count(DISTINCT user_id) AS active_users,
    count(*) AS event_count
FROM analytics_events
WHERE category IN ('revenue', 'user_activity', 'crypto')
  AND event_type <> 'user.deleted'
  AND user_id IS NOT NULL
GROUP BY 1, 2
WITH NO DATA;

-- Distinct users can't be added up over days: this is the grain whole months are counted over.
CREATE MATERIALIZED VIEW IF NOT EXISTS analytics_user_activity_monthly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(interval '1 month', "timestamp") AS bucket,
    company_id,
    user_id,
    count(*) AS event_count
FROM analytics_events
WHERE category IN ('revenue', 'user_activity', 'crypto')
  AND event_type <> 'user.deleted'
  AND user_id IS NOT NULL
GROUP BY 1, 2, 3
WITH NO DATA;

CREATE MATERIALIZED VIEW IF NOT EXISTS analytics_crypto_daily
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(interval '1 day', "timestamp") AS bucket,
    company_id,
    currency,
    event_type,
    sum(value) AS total_value,
    count(*) AS event_count
FROM analytics_events
WHERE category = 'crypto'
GROUP BY 1, 2, 3, 4
WITH NO DATA;

CREATE MATERIALIZED VIEW IF NOT EXISTS analytics_crypto_monthly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(interval '1 month', bucket) AS bucket,
    company_id,
    currency,
    event_type,
    sum(total_value) AS total_value,
    sum(event_count)::bigint AS event_count
FROM analytics_crypto_daily
GROUP BY 1, 2, 3, 4
WITH NO DATA;

CREATE MATERIALIZED VIEW IF NOT EXISTS analytics_event_volume_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(interval '1 hour', "timestamp") AS bucket,
    company_id,
    category,
    event_type,
    count(*) AS event_count
FROM analytics_events
GROUP BY 1, 2, 3, 4
WITH NO DATA;
