-- Under which currencies each company's amounts are counted: revenue and crypto of all months from their
-- monthly aggregates, other categories from the raw events of the last days, missing or malformed ones only.
WITH counted AS (
    SELECT company_id, 'revenue' AS category, currency, sum(event_count)::bigint AS events
    FROM analytics_revenue_monthly
    GROUP BY company_id, currency
    UNION ALL
    SELECT company_id, 'crypto', currency, sum(event_count)::bigint
    FROM analytics_crypto_monthly
    GROUP BY company_id, currency
    UNION ALL
    SELECT company_id, category, currency, count(*)
    FROM analytics_events
    WHERE "timestamp" >= now() - %(look_back)s::interval
      AND category NOT IN ('revenue', 'crypto')
      AND ((currency IS NULL AND value IS NOT NULL) OR NOT analytics_is_asset(currency))
    GROUP BY company_id, category, currency
)
SELECT company_id, category, currency, events, analytics_is_asset(currency)
FROM counted
ORDER BY company_id, category, currency
