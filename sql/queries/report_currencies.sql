-- Revenue in its original currencies and at the rates of its days, of each company or (each false) of all that are
-- asked for together; a row per currency and, where something was refunded, per currency and day.
WITH amount AS MATERIALIZED (
    SELECT
        CASE WHEN %(each)s THEN r.company_id END AS company_id, r.currency, r.day,
        sum(r.original) AS revenue, -sum(r.refunds) AS refunds, sum(r.transactions)::bigint AS transactions,
        sum(r.converted) AS converted, -sum(r.refunded) AS refunded
    FROM analytics_converted_revenue(
        ARRAY[ROW(%(company)s, %(start)s, %(end)s, %(currency)s)::analytics_figure_period]
    ) AS r
    WHERE r.figure = 'totalRevenue'
    GROUP BY 1, 2, 3
),
rate AS MATERIALIZED (
    SELECT k.currency, k.day, analytics_fraction(1, fx.numerator, fx.denominator) AS rate
    FROM (SELECT DISTINCT a.currency, a.day FROM amount AS a) AS k
    CROSS JOIN LATERAL analytics_fx_rate(k.currency, %(currency)s, k.day) AS fx
)
SELECT
    a.company_id, a.currency, a.day,
    sum(a.revenue), sum(a.refunds), sum(a.transactions)::bigint,
    sum(a.converted), sum(a.refunded),
    min(r.rate), max(r.rate),
    CASE WHEN bool_and(a.converted IS NOT NULL) AND sum(a.revenue) <> 0
         THEN analytics_fraction(sum(a.converted), 1, sum(a.revenue)) END
FROM amount AS a
LEFT JOIN rate AS r ON r.currency = a.currency AND r.day = a.day
GROUP BY GROUPING SETS ((a.company_id, a.currency), (a.company_id, a.currency, a.day))
HAVING GROUPING(a.day) = 1 OR sum(a.refunds) <> 0
ORDER BY a.company_id, a.currency, a.day
