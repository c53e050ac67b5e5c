-- Dashboards ask for the days and months of any time zone: what they call takes the currency and the zone as well, now.
DROP FUNCTION IF EXISTS analytics_revenue_shown(text, text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_movements_shown(text, text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_users_shown(text, text, timestamptz, timestamptz);
