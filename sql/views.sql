-- The metric tables as their figures are shown, for people's own queries: a view beside each table, brought to this
-- version at every migration. They are read with the rights of who asks, so that row-level security holds here as well.
-- A column that a table has got since stands last; a migration that takes one away, or renames it, drops the view.

CREATE OR REPLACE VIEW analytics_revenue_metrics_rounded WITH (security_invoker = true) AS
SELECT
    m.company_id,
    m.granularity,
    m.period_start,
    m.period_end,
    m.currency,
    analytics_round_money(m.total_revenue, m.currency) AS total_revenue,
    analytics_round_money(m.previous_revenue, m.currency) AS previous_revenue,
    analytics_round_rate(m.revenue_growth) AS revenue_growth,
    analytics_round_money(m.invoiced, m.currency) AS invoiced,
    analytics_round_money(m.refunds, m.currency) AS refunds,
    analytics_round_money(m.mrr, m.currency) AS mrr,
    analytics_round_money(m.arr, m.currency) AS arr,
    m.paying_customers,
    analytics_round_money(m.arpa, m.currency) AS arpa,
    m.total_users,
    analytics_round_money(m.average_revenue_per_user, m.currency) AS average_revenue_per_user,
    analytics_round_unconverted(m.unconverted) AS unconverted,
    m.definitions_version,
    m.computed_at,
    m.time_zone,
    m.period_date
FROM analytics_revenue_metrics AS m;

COMMENT ON VIEW analytics_revenue_metrics_rounded IS
    'analytics_revenue_metrics as it is shown: amounts in the digits of their currency, rates with one decimal place.';

CREATE OR REPLACE VIEW analytics_mrr_movements_rounded WITH (security_invoker = true) AS
SELECT
    s.company_id,
    s.granularity,
    s.period_start,
    s.period_end,
    s.currency,
    s.start_mrr,
    s.new,
    s.reactivation,
    s.expansion,
    s.contraction,
    s.churn,
    s.fx,
    s.end_mrr - (s.start_mrr + s.new + s.reactivation + s.expansion - s.contraction - s.churn + s.fx) AS rounding,
    s.end_mrr,
    s.unconverted,
    s.definitions_version,
    s.computed_at,
    s.expansion_of_paying,
    s.new_customers,
    s.returned_customers,
    s.lost_customers,
    s.customers_at_start,
    s.paying_customers,
    s.mrr_at_start,
    s.mrr,
    s.mrr_year_before,
    s.total_revenue,
    s.total_revenue_year_before,
    s.gross_mrr_churn_rate,
    s.net_mrr_churn_rate,
    s.gross_revenue_retention,
    s.net_revenue_retention,
    s.quick_ratio,
    s.customer_churn_rate,
    s.arpa_growth,
    s.lifetime_value,
    s.total_revenue_year_over_year,
    s.mrr_year_over_year,
    s.time_zone,
    s.period_date
FROM (
    SELECT
        m.company_id,
        m.granularity,
        m.period_start,
        m.period_end,
        m.currency,
        analytics_round_money(m.start_mrr, m.currency) AS start_mrr,
        analytics_round_money(m.new, m.currency) AS new,
        analytics_round_money(m.reactivation, m.currency) AS reactivation,
        analytics_round_money(m.expansion, m.currency) AS expansion,
        analytics_round_money(m.contraction, m.currency) AS contraction,
        analytics_round_money(m.churn, m.currency) AS churn,
        analytics_round_money(m.fx, m.currency) AS fx,
        analytics_round_money(m.end_mrr, m.currency) AS end_mrr,
        analytics_round_unconverted(m.unconverted) AS unconverted,
        m.definitions_version,
        m.computed_at,
        analytics_round_money(m.expansion_of_paying, m.currency) AS expansion_of_paying,
        m.new_customers,
        m.returned_customers,
        m.lost_customers,
        m.customers_at_start,
        m.paying_customers,
        analytics_round_money(m.mrr_at_start, m.currency) AS mrr_at_start,
        analytics_round_money(m.mrr, m.currency) AS mrr,
        analytics_round_money(m.mrr_year_before, m.currency) AS mrr_year_before,
        analytics_round_money(m.total_revenue, m.currency) AS total_revenue,
        analytics_round_money(m.total_revenue_year_before, m.currency) AS total_revenue_year_before,
        analytics_round_rate(m.gross_mrr_churn_rate) AS gross_mrr_churn_rate,
        analytics_round_rate(m.net_mrr_churn_rate) AS net_mrr_churn_rate,
        analytics_round_rate(m.gross_revenue_retention) AS gross_revenue_retention,
        analytics_round_rate(m.net_revenue_retention) AS net_revenue_retention,
        analytics_round_rate(m.quick_ratio, 2) AS quick_ratio,
        analytics_round_rate(m.customer_churn_rate) AS customer_churn_rate,
        analytics_round_rate(m.arpa_growth) AS arpa_growth,
        analytics_round_money(m.lifetime_value, m.currency) AS lifetime_value,
        analytics_round_rate(m.total_revenue_year_over_year) AS total_revenue_year_over_year,
        analytics_round_rate(m.mrr_year_over_year) AS mrr_year_over_year,
        m.time_zone,
        m.period_date
    FROM analytics_mrr_movements AS m
) AS s;

COMMENT ON VIEW analytics_mrr_movements_rounded IS
    'analytics_mrr_movements as it is shown; rounding is what the shown movements miss the difference of start and end by.';

CREATE OR REPLACE VIEW analytics_user_metrics_rounded WITH (security_invoker = true) AS
SELECT
    m.company_id,
    m.granularity,
    m.period_start,
    m.period_end,
    m.total_users,
    m.active_users,
    m.new_users,
    m.churned_users,
    m.users_at_start,
    m.active_before,
    analytics_round_rate(m.churn_rate) AS churn_rate,
    analytics_round_rate(m.active_user_rate) AS active_user_rate,
    analytics_round_rate(m.churn_rate_of_start) AS churn_rate_of_start,
    m.active_fingerprint,
    m.definitions_version,
    m.computed_at,
    m.churned_of_start,
    m.time_zone,
    m.period_date
FROM analytics_user_metrics AS m;

COMMENT ON VIEW analytics_user_metrics_rounded IS
    'analytics_user_metrics as it is shown: rates with one decimal place.';
