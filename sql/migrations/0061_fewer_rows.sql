-- What is added up is asked for in fewer rows (sql/functions/revenue.sql, sql/functions/subscriptions.sql).
DROP FUNCTION IF EXISTS analytics_revenue_pieces(
    timestamptz[], timestamptz[], tstzmultirange, text[], text, boolean
);
DROP FUNCTION IF EXISTS analytics_paid_amounts(timestamptz, timestamptz, text[], analytics_subscriptions[]);
