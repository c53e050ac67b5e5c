-- Amounts that are left out of figures, of each company or (each false) of all that are asked for together.
SELECT
    CASE WHEN %(each)s THEN u.company_id END,
    u.figure, u.currency, sum(u.amount), min(u.first_day), max(u.last_day), u.part
FROM analytics_unconverted(%(company)s, %(start)s, %(end)s, %(currency)s) AS u
GROUP BY 1, u.figure, u.part, u.currency, sign(u.amount)
ORDER BY u.figure, u.part NULLS FIRST, u.currency, sign(u.amount)
