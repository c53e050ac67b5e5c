-- Of every pair the last rate on or before a day, if it isn't too old to serve it.
SELECT DISTINCT ON (base, quote)
    rate_date, base, quote, rate, %(day)s::date - rate_date, source
FROM analytics_fx_rates
WHERE rate_date BETWEEN %(day)s::date - %(days_valid)s::integer AND %(day)s::date
  AND (%(currency)s::text IS NULL OR %(currency)s::text IN (base, quote))
ORDER BY base, quote, rate_date DESC
