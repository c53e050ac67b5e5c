-- Which currencies have amounts to convert, from the first to the last day (UTC) of them; whether lately; the
-- newest rate towards the reporting currency; and the days between without a rate. Conversion: sql/functions/fx.sql.
WITH data AS (
    SELECT max("timestamp") AS through, now() - %(look_back)s::interval AS lately
    FROM analytics_events
    WHERE "timestamp" <= now() + %(tolerance)s::interval
),
amount (currency, first_at, last_at) AS (
    SELECT currency, min(bucket), max(bucket) FROM analytics_revenue_daily GROUP BY currency
    UNION ALL
    SELECT currency, min(bucket), max(bucket) FROM analytics_billing_daily GROUP BY currency
    UNION ALL
    -- A balance stands on every day of a subscription's life.
    SELECT s.currency, min(s.valid_from), max(coalesce(s.valid_to, data.through))
    FROM analytics_subscriptions AS s, data
    WHERE s.monthly_amount > 0
    GROUP BY s.currency
    UNION ALL
    SELECT
        CASE category WHEN 'crypto' THEN metadata ->> 'fiat_currency' ELSE currency END,
        min("timestamp"), max("timestamp")
    FROM analytics_events, data
    WHERE "timestamp" >= data.lately AND "timestamp" <= data.through AND category IN ('subscription', 'crypto')
    GROUP BY 1
    UNION ALL
    -- A quantity of crypto comes with its value in money: a ticker needs rates only from when it has some.
    SELECT f.currency, greatest(min(c.bucket), f.first_rate::timestamptz), max(c.bucket)
    FROM analytics_crypto_daily AS c
    JOIN (
        SELECT pair.currency, min(r.rate_date) AS first_rate
        FROM analytics_fx_rates AS r
        CROSS JOIN LATERAL (VALUES (r.base), (r.quote)) AS pair (currency)
        GROUP BY pair.currency
    ) AS f ON f.currency = analytics_crypto_code(c.currency)
    GROUP BY f.currency, f.first_rate
    HAVING max(c.bucket) >= f.first_rate::timestamptz
),
used AS (
    SELECT
        a.currency,
        (min(a.first_at) AT TIME ZONE 'UTC')::date AS first_day,
        (max(a.last_at) AT TIME ZONE 'UTC')::date AS last_day,
        max(a.last_at) >= max(data.lately) AS lately
    FROM amount AS a, data
    WHERE a.currency <> %(base)s::text AND analytics_is_asset(a.currency)
    GROUP BY a.currency
),
quote AS (
    SELECT r.base AS currency, r.quote AS via, r.rate_date, r.source FROM analytics_fx_rates AS r
    UNION ALL
    SELECT r.quote, r.base, r.rate_date, r.source FROM analytics_fx_rates AS r
),
leg AS (
    SELECT q.currency, q.via, q.rate_date AS newest,
        daterange(q.rate_date, q.rate_date + %(days_valid)s::integer + 1) AS days
    FROM quote AS q
    UNION ALL
    -- From the day of joining on, for ever.
    SELECT pair.currency, pair.via, (data.through AT TIME ZONE 'UTC')::date, daterange(e.joined_on, NULL)
    FROM analytics_euro_rates() AS e
    CROSS JOIN data
    CROSS JOIN LATERAL (VALUES (e.currency, 'EUR'), ('EUR', e.currency)) AS pair (currency, via)
    WHERE e.joined_on <= (data.through AT TIME ZONE 'UTC')::date
),
served AS (
    SELECT l.currency, l.via, max(l.newest) AS newest, range_agg(l.days) AS days
    FROM leg AS l
    WHERE l.currency = %(base)s::text OR l.currency IN (SELECT u.currency FROM used AS u)
    GROUP BY l.currency, l.via
),
path AS (
    SELECT s.currency, s.newest, s.days FROM served AS s WHERE s.via = %(base)s::text
    UNION ALL
    SELECT sold.currency, least(sold.newest, bought.newest), sold.days * bought.days
    FROM served AS sold
    JOIN served AS bought ON bought.via = sold.via AND bought.currency = %(base)s::text
),
-- A source that goes on without a currency has ended for it.
ended AS (
    SELECT last.currency, last.rate_date, last.source
    FROM (
        SELECT DISTINCT ON (q.currency) q.currency, q.rate_date, q.source
        FROM quote AS q
        ORDER BY q.currency, q.rate_date DESC
    ) AS last
    JOIN (SELECT q.source, max(q.rate_date) AS newest FROM quote AS q GROUP BY q.source) AS source USING (source)
    WHERE source.newest - last.rate_date > %(ended_after)s::integer
)
SELECT
    u.currency, u.first_day, u.last_day, u.lately, (data.through AT TIME ZONE 'UTC')::date,
    max(p.newest),
    datemultirange(daterange(u.first_day, u.last_day, '[]')) - coalesce(range_agg(p.days), '{}'),
    ended.rate_date, ended.source
FROM used AS u
CROSS JOIN data
LEFT JOIN path AS p ON p.currency = u.currency
LEFT JOIN ended ON ended.currency = u.currency
GROUP BY u.currency, u.first_day, u.last_day, u.lately, data.through, ended.rate_date, ended.source
ORDER BY u.currency
