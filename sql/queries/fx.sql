-- name: fx_changes
-- Figures of every company, of days and of months: of the metrics whose amounts are converted. A rate is of a date, which
-- begins and ends at other instants where companies live in other time zones than UTC.
INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, granularity, metrics, zones, cause)
SELECT
    NULL, change.changed_from - z.beyond, change.changed_until + z.beyond, NULL,
    ARRAY['revenue_metrics', 'mrr_movements'], z.zones, change.cause
FROM jsonb_to_recordset(%(changes)s::jsonb)
    AS change (changed_from timestamptz, changed_until timestamptz, cause text)
CROSS JOIN (
    SELECT EXISTS (SELECT FROM analytics_metric_periods AS m WHERE m.time_zone <> 'UTC') AS has_local
) AS m
CROSS JOIN LATERAL (
    SELECT CASE WHEN m.has_local THEN 'UTC' END AS zones, interval '0' AS beyond
    UNION ALL
    SELECT 'local', interval '14 hours' WHERE m.has_local
) AS z
ORDER BY change.changed_from


-- name: fx_serving
-- Of every pair the last rate on or before a day, if it isn't too old to serve it; of a currency that is asked for and
-- has joined the euro its irrevocable rate, which is of the day.
(SELECT DISTINCT ON (base, quote)
    rate_date, base, quote, rate, %(day)s::date - rate_date, source
FROM analytics_fx_rates
WHERE rate_date BETWEEN %(day)s::date - %(days_valid)s::integer AND %(day)s::date
  AND (%(currency)s::text IS NULL OR %(currency)s::text IN (base, quote))
  AND NOT EXISTS (
      SELECT FROM analytics_euro_rates() AS e
      WHERE e.currency IN (base, quote) AND e.joined_on <= %(day)s::date
  )
ORDER BY base, quote, rate_date DESC)
UNION ALL
SELECT %(day)s::date, 'EUR', e.currency, e.rate, 0, 'irrevocable since ' || e.joined_on
FROM analytics_euro_rates() AS e
WHERE e.currency = %(currency)s::text AND e.joined_on <= %(day)s::date
ORDER BY 2, 3


-- name: fx_store
-- Stores rates that are not there as they are given; tells day and pair of each, and whether there was another.
WITH given AS MATERIALIZED (
    SELECT given.rate_date, given.base, given.quote, given.rate, there.rate IS NOT NULL AS was_there
    FROM jsonb_to_recordset(%(rates)s::jsonb) AS given (rate_date date, base text, quote text, rate numeric)
    LEFT JOIN analytics_fx_rates AS there USING (base, quote, rate_date)
    WHERE there.rate IS DISTINCT FROM given.rate
),
stored AS (
    INSERT INTO analytics_fx_rates (rate_date, base, quote, rate, source)
    SELECT rate_date, base, quote, rate, %(source)s::text FROM given
    ON CONFLICT (base, quote, rate_date)
    DO UPDATE SET rate = EXCLUDED.rate, source = EXCLUDED.source, loaded_at = now()
)
SELECT rate_date, base || '/' || quote, was_there FROM given


-- name: fx_stored
SELECT
    (SELECT count(*) FROM analytics_fx_rates),
    (SELECT max(rate_date) FROM analytics_fx_rates),
    ARRAY(SELECT base FROM analytics_fx_rates UNION SELECT quote FROM analytics_fx_rates ORDER BY 1)
