-- What dashboards of operators ask: figures of one company, or of all together, in one call.

CREATE OR REPLACE FUNCTION analytics_revenue_shown(
    p_company text, p_granularity text, p_start timestamptz, p_end timestamptz
)
RETURNS SETOF analytics_revenue_metrics
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT * FROM analytics_revenue_metrics AS m
    WHERE m.company_id = p_company AND m.granularity = p_granularity
      AND m.period_start >= p_start AND m.period_start < p_end
    UNION ALL
    SELECT * FROM analytics_revenue_metrics_together(p_granularity, p_start, p_end) AS t WHERE p_company IS NULL
    ORDER BY period_start
$$;

COMMENT ON FUNCTION analytics_revenue_shown IS
    'Closed days or months that begin in a half-open window, of a company or (null) of all together, as they are stored.';

CREATE OR REPLACE FUNCTION analytics_movements_shown(
    p_company text, p_granularity text, p_start timestamptz, p_end timestamptz
)
RETURNS SETOF analytics_mrr_movements
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT * FROM analytics_mrr_movements AS m
    WHERE m.company_id = p_company AND m.granularity = p_granularity
      AND m.period_start >= p_start AND m.period_start < p_end
    UNION ALL
    SELECT * FROM analytics_mrr_movements_together(p_granularity, p_start, p_end) AS t WHERE p_company IS NULL
    ORDER BY period_start
$$;

COMMENT ON FUNCTION analytics_movements_shown IS
    'Closed days or months that begin in a half-open window, of a company or (null) of all together, as they are stored.';

CREATE OR REPLACE FUNCTION analytics_users_shown(
    p_company text, p_granularity text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (
    company_id text, period_start timestamptz, period_end timestamptz,
    total_users bigint, active_users bigint, new_users bigint, churned_users bigint, users_at_start bigint,
    churn_rate numeric, active_user_rate numeric, churn_rate_of_start numeric
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        m.company_id, m.period_start, m.period_end, m.total_users, m.active_users, m.new_users, m.churned_users,
        m.users_at_start, m.churn_rate, m.active_user_rate, m.churn_rate_of_start
    FROM analytics_user_metrics AS m
    WHERE m.company_id = p_company AND m.granularity = p_granularity
      AND m.period_start >= p_start AND m.period_start < p_end
    UNION ALL
    SELECT
        t.company_id, t.period_start, t.period_end, t.total_users, t.active_users, t.new_users, t.churned_users,
        t.users_at_start, t.churn_rate, t.active_user_rate, t.churn_rate_of_start
    FROM analytics_user_metrics_together(p_granularity, p_start, p_end) AS t
    WHERE p_company IS NULL
    ORDER BY period_start
$$;

COMMENT ON FUNCTION analytics_users_shown IS
    'Closed days or months that begin in a half-open window, of a company or (null) of all together, as they are stored.';

-- Crypto figures are stored nowhere: an operator, who may read neither events nor aggregates, gets them through this.
CREATE OR REPLACE FUNCTION analytics_crypto_shown(
    p_company text, p_granularity text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS TABLE (
    period_start timestamptz, ticker text, received numeric, sent numeric, swapped numeric,
    received_value numeric, sent_value numeric, swapped_value numeric, transactions bigint
)
LANGUAGE sql STABLE
AS $$
    SELECT
        p.period_start, a.ticker, a.received, a.sent, a.swapped, a.received_value, a.sent_value, a.swapped_value,
        a.transactions
    FROM analytics_periods(p_granularity, analytics_ceil(p_granularity, p_start), analytics_floor(p_granularity, p_end)) AS p
    CROSS JOIN LATERAL analytics_crypto_assets(p_company, p.period_start, p.period_end, p_currency) AS a
    ORDER BY p.period_start, a.ticker
$$;

COMMENT ON FUNCTION analytics_crypto_shown IS
    'What analytics_crypto_assets answers of each whole day or month in a half-open window, of a company or (null) of all.';

DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION analytics_crypto_shown(text, text, timestamptz, timestamptz, text) SECURITY DEFINER '
        'SET search_path = pg_catalog, %I, pg_temp',
        current_schema()
    );
END
$$;
