-- Figures are asked for many periods and companies at once: what answered for one period at a time goes, and what has
-- the name of a function that takes something else now.
DROP FUNCTION IF EXISTS analytics_revenue_days(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_invoiced_days(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_converted_revenue(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_revenue_metrics_by_company(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_total_users_by_company(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_revenue_metrics(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_balance_date(timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_subscription_rows(text);
DROP FUNCTION IF EXISTS analytics_subscription_balances(text, timestamptz);
DROP FUNCTION IF EXISTS analytics_mrr_balances(text, timestamptz, date, text);
DROP FUNCTION IF EXISTS analytics_mrr_parts(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_customer_movements(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_mrr_movements_by_company(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_mrr_movements(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_unconverted(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_unconverted_list(text, timestamptz, timestamptz, text, text[]);
