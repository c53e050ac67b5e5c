-- Revenue: payments received minus refunds, each on its own date (cash basis), DEFINITIONS version 1.
-- Periods are half-open; a null company means all companies; amounts of different currencies are
-- never added.

CREATE OR REPLACE FUNCTION analytics_revenue_by_currency(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (currency text, revenue numeric, refunds numeric, transactions bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT r.currency, sum(r.total_value), coalesce(sum(r.refund_value), 0), sum(r.event_count)::bigint
    FROM analytics_revenue_daily AS r
    WHERE r.bucket >= p_start AND r.bucket < p_end
      AND (p_company IS NULL OR r.company_id = p_company)
      AND r.currency IS NOT NULL
    GROUP BY r.currency
    ORDER BY r.currency
$$;

COMMENT ON FUNCTION analytics_revenue_by_currency IS
    'Revenue, refunds and number of transactions of whole UTC days, per currency.';

CREATE OR REPLACE FUNCTION analytics_revenue_series(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (month timestamptz, currency text, revenue numeric, refunds numeric, transactions bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT r.bucket, r.currency, sum(r.total_value), coalesce(sum(r.refund_value), 0), sum(r.event_count)::bigint
    FROM analytics_revenue_monthly AS r
    WHERE r.bucket >= p_start AND r.bucket < p_end
      AND (p_company IS NULL OR r.company_id = p_company)
      AND r.currency IS NOT NULL
    GROUP BY r.bucket, r.currency
    ORDER BY r.bucket, r.currency
$$;

COMMENT ON FUNCTION analytics_revenue_series IS
    'Revenue, refunds and number of transactions of whole UTC months, per month and currency.';
