-- Of every pair the last rate on or before a day, if it isn't too old to serve it; of a currency that is asked for and
-- has joined the euro its irrevocable rate, which is of the day.
(SELECT DISTINCT ON (base, quote)
    rate_date, base, quote, rate, %(day)s::date - rate_date, source
FROM analytics_fx_rates
WHERE rate_date BETWEEN %(day)s::date - %(days_valid)s::integer AND %(day)s::date
  AND (%(currency)s::text IS NULL OR %(currency)s::text IN (base, quote))
  AND NOT EXISTS (
      SELECT FROM analytics_euro_rates() AS e
      WHERE e.currency IN (base, quote) AND e.joined_on <= %(day)s::date
  )
ORDER BY base, quote, rate_date DESC)
UNION ALL
SELECT %(day)s::date, 'EUR', e.currency, e.rate, 0, 'irrevocable since ' || e.joined_on
FROM analytics_euro_rates() AS e
WHERE e.currency = %(currency)s::text AND e.joined_on <= %(day)s::date
ORDER BY 2, 3
