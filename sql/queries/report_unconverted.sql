-- Amounts that are in no figure, of each company or (each false) of all that are asked for together.
SELECT
    CASE WHEN %(each)s THEN u.company_id END,
    u.figure, u.currency, sum(u.amount), min(u.first_day), max(u.last_day)
FROM analytics_unconverted(%(company)s, %(start)s, %(end)s, %(currency)s) AS u
GROUP BY 1, 2, 3
ORDER BY 2, 3
