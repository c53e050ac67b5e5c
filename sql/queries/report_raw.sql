-- What the raw events of a period say by themselves, past every aggregate, of each company or (each false) of all
-- that are asked for together.
WITH event AS MATERIALIZED (
    SELECT
        e.company_id, e.user_id, e.category, e.event_type, e.currency, e.value,
        e."timestamp", e.ingested_at, analytics_date(e."timestamp") AS day
    FROM analytics_events AS e
    WHERE e."timestamp" >= %(start)s AND e."timestamp" < %(end)s
      AND (%(company)s::text IS NULL OR e.company_id = %(company)s)
),
amount AS MATERIALIZED (
    SELECT e.company_id, e.category, e.currency, e.day, sum(e.value) AS value
    FROM event AS e
    WHERE e.category IN ('revenue', 'billing') AND e.currency IS NOT NULL AND e.value IS NOT NULL
    GROUP BY 1, 2, 3, 4
),
rate AS MATERIALIZED (
    SELECT k.currency, k.day, fx.numerator, fx.denominator
    FROM (SELECT DISTINCT a.currency, a.day FROM amount AS a) AS k
    CROSS JOIN LATERAL analytics_fx_rate(k.currency, %(currency)s, k.day) AS fx
),
money AS (
    SELECT
        CASE WHEN %(each)s THEN a.company_id END AS company_id,
        sum(analytics_fraction(a.value, r.numerator, r.denominator)) FILTER (WHERE a.category = 'revenue') AS revenue,
        sum(analytics_fraction(a.value, r.numerator, r.denominator)) FILTER (WHERE a.category = 'billing') AS invoiced
    FROM amount AS a
    LEFT JOIN rate AS r ON r.currency = a.currency AND r.day = a.day
    GROUP BY 1
)
SELECT
    c.company_id, c.events, c.active_users, coalesce(m.revenue, 0), coalesce(m.invoiced, 0),
    c.late, c.after_end, c.longest_delay
FROM (
    SELECT
        CASE WHEN %(each)s THEN e.company_id END AS company_id,
        count(*) AS events,
        count(DISTINCT (e.company_id, e.user_id)) FILTER (
            WHERE e.category IN ('revenue', 'user_activity', 'crypto')
              AND e.event_type <> 'user.deleted' AND e.user_id IS NOT NULL
        ) AS active_users,
        count(*) FILTER (WHERE e.ingested_at >= (e.day + 1)::timestamp AT TIME ZONE 'UTC') AS late,
        count(*) FILTER (WHERE e.ingested_at >= %(end)s) AS after_end,
        max(e.ingested_at - e."timestamp") AS longest_delay
    FROM event AS e
    GROUP BY 1
) AS c
LEFT JOIN money AS m ON m.company_id IS NOT DISTINCT FROM c.company_id
