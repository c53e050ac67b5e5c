-- Amounts in a currency that had joined the euro had no rate: their closed figures are computed again with its
-- irrevocable one (sql/functions/fx.sql).
INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, metrics, cause)
SELECT
    NULL, min(used.first_at), max(used.last_at), ARRAY['revenue_metrics', 'mrr_movements'],
    'the irrevocable rate of ' || joined.currency
FROM (
    VALUES
        ('ATS', timestamptz '1999-01-01 00:00:00Z'), ('BEF', '1999-01-01 00:00:00Z'), ('DEM', '1999-01-01 00:00:00Z'),
        ('ESP', '1999-01-01 00:00:00Z'), ('FIM', '1999-01-01 00:00:00Z'), ('FRF', '1999-01-01 00:00:00Z'),
        ('IEP', '1999-01-01 00:00:00Z'), ('ITL', '1999-01-01 00:00:00Z'), ('LUF', '1999-01-01 00:00:00Z'),
        ('NLG', '1999-01-01 00:00:00Z'), ('PTE', '1999-01-01 00:00:00Z'), ('GRD', '2001-01-01 00:00:00Z'),
        ('SIT', '2007-01-01 00:00:00Z'), ('CYP', '2008-01-01 00:00:00Z'), ('MTL', '2008-01-01 00:00:00Z'),
        ('SKK', '2009-01-01 00:00:00Z'), ('EEK', '2011-01-01 00:00:00Z'), ('LVL', '2014-01-01 00:00:00Z'),
        ('LTL', '2015-01-01 00:00:00Z'), ('HRK', '2023-01-01 00:00:00Z'), ('BGN', '2026-01-01 00:00:00Z')
) AS joined (currency, at)
CROSS JOIN LATERAL (
    SELECT greatest(r.bucket, joined.at) AS first_at, r.bucket + interval '1 day' AS last_at
    FROM analytics_revenue_daily AS r
    WHERE r.currency = joined.currency AND r.bucket >= joined.at
    UNION ALL
    SELECT b.bucket, b.bucket + interval '1 day'
    FROM analytics_billing_daily AS b
    WHERE b.currency = joined.currency AND b.bucket >= joined.at
    UNION ALL
    -- A balance stands on every day of a subscription's life.
    SELECT greatest(s.valid_from, joined.at), coalesce(s.valid_to, now()) + interval '1 day'
    FROM analytics_subscriptions AS s
    WHERE s.currency = joined.currency AND coalesce(s.valid_to, now()) >= joined.at
) AS used
GROUP BY joined.currency;

-- Which currencies one has rates with lately is read for every amount that goes through a third one. With the euro as
-- base of nearly all rates the other two indexes look useless to the planner, and it read the whole table each time.
CREATE INDEX IF NOT EXISTS analytics_fx_rates_date_idx ON analytics_fx_rates (rate_date, base, quote);
