SELECT
    (SELECT count(*) FROM analytics_fx_rates),
    (SELECT max(rate_date) FROM analytics_fx_rates),
    ARRAY(SELECT base FROM analytics_fx_rates UNION SELECT quote FROM analytics_fx_rates ORDER BY 1)
