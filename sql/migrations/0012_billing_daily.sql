-- What was invoiced, per day: like revenue, it has to outlive the retention of the events.
CREATE MATERIALIZED VIEW IF NOT EXISTS analytics_billing_daily
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(interval '1 day', "timestamp") AS bucket,
    company_id,
    currency,
    sum(value) AS total_value,
    sum(value) FILTER (WHERE event_type = 'invoice.credited') AS credit_value,
    count(*) AS event_count
FROM analytics_events
WHERE category = 'billing'
GROUP BY 1, 2, 3
WITH NO DATA;
