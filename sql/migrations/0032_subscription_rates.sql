-- The rates of a subscription business, and the figures that they follow from; null in rows that were computed before.
ALTER TABLE analytics_mrr_movements
    ADD COLUMN IF NOT EXISTS expansion_of_paying          numeric,
    ADD COLUMN IF NOT EXISTS new_customers                bigint,
    ADD COLUMN IF NOT EXISTS returned_customers           bigint,
    ADD COLUMN IF NOT EXISTS lost_customers               bigint,
    ADD COLUMN IF NOT EXISTS customers_at_start           bigint,
    ADD COLUMN IF NOT EXISTS paying_customers             bigint,
    ADD COLUMN IF NOT EXISTS mrr_at_start                 numeric,
    ADD COLUMN IF NOT EXISTS mrr                          numeric,
    ADD COLUMN IF NOT EXISTS mrr_year_before              numeric,
    ADD COLUMN IF NOT EXISTS total_revenue                numeric,
    ADD COLUMN IF NOT EXISTS total_revenue_year_before    numeric,
    ADD COLUMN IF NOT EXISTS gross_mrr_churn_rate         numeric,
    ADD COLUMN IF NOT EXISTS net_mrr_churn_rate           numeric,
    ADD COLUMN IF NOT EXISTS gross_revenue_retention      numeric,
    ADD COLUMN IF NOT EXISTS net_revenue_retention        numeric,
    ADD COLUMN IF NOT EXISTS quick_ratio                  numeric,
    ADD COLUMN IF NOT EXISTS customer_churn_rate          numeric,
    ADD COLUMN IF NOT EXISTS arpa_growth                  numeric,
    ADD COLUMN IF NOT EXISTS lifetime_value               numeric,
    ADD COLUMN IF NOT EXISTS total_revenue_year_over_year numeric,
    ADD COLUMN IF NOT EXISTS mrr_year_over_year           numeric;

-- Closed periods get them as they get everything that has changed. Those that keep the figures of an older version of
-- the definitions, because their events have expired, keep them.
INSERT INTO analytics_metric_changes (company_id, changed_from, metrics, cause)
SELECT
    NULL,
    coalesce(
        max(p.period_end) FILTER (
            WHERE p.definitions_version < 2
              AND p.period_start < (SELECT max(h.events_from) FROM analytics_retention_horizon AS h)
        ),
        min(p.period_start)
    ),
    ARRAY['mrr_movements'], 'rates of subscriptions'
FROM analytics_metric_periods AS p
WHERE p.metric = 'mrr_movements'
HAVING count(*) > 0;

-- Its result is another now.
DROP FUNCTION IF EXISTS analytics_mrr_movements_rows(text, timestamptz, timestamptz, text, integer);
