-- Crypto volumes of a period, of each company or (each false) of all that are asked for together.
SELECT
    CASE WHEN %(each)s THEN v.company_id END,
    v.ticker, v.event_type, sum(v.quantity), sum(v.transactions)::bigint,
    CASE WHEN bool_and(v.converted IS NOT NULL) THEN sum(v.converted) END
FROM analytics_crypto_volumes(%(company)s, %(start)s, %(end)s, %(currency)s) AS v
GROUP BY 1, 2, 3
ORDER BY 2, 3
