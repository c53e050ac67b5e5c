-- What is stored of the subscriptions that the closed events of a span touch, beside what those events give now. Where
-- that can't be compared, the stored rows count as what the events give.
WITH taken_in AS MATERIALIZED (
    SELECT
        analytics_comparable_windows(
            'analytics_subscriptions', %(horizon)s::timestamptz, %(stale_starts)s::timestamptz[],
            %(stale_ends)s::timestamptz[]
        ) * tstzmultirange(tstzrange(%(start)s, %(end)s)) AS windows
),
due AS MATERIALIZED (
    SELECT w.*
    FROM taken_in AS t
    CROSS JOIN LATERAL analytics_relinked_subscriptions(NULL, t.windows) AS w
),
stored AS MATERIALIZED (
    SELECT f.*
    FROM analytics_subscriptions AS f
    WHERE EXISTS (SELECT FROM taken_in AS t WHERE t.windows @> f.valid_from)
       OR EXISTS (SELECT FROM due AS d WHERE d.company_id = f.company_id AND d.subscription_id = f.subscription_id)
),
difference AS MATERIALIZED (
    SELECT
        coalesce(d.company_id, s.company_id) AS company_id,
        coalesce(d.subscription_id, s.subscription_id) AS subscription_id,
        coalesce(d.valid_from, s.valid_from) AS valid_from,
        CASE
            WHEN d.company_id IS NULL THEN 'stored, but not in the events'
            WHEN s.company_id IS NULL THEN 'in the events, but not stored'
            ELSE 'stored otherwise than the events say'
        END AS how
    FROM due AS d
    FULL JOIN stored AS s
        ON s.company_id = d.company_id AND s.subscription_id = d.subscription_id AND s.valid_from = d.valid_from
    WHERE d IS DISTINCT FROM s
)
SELECT
    (SELECT count(*) FROM stored),
    (SELECT count(*) FROM difference),
    (SELECT min(d.valid_from) FROM difference AS d),
    (SELECT max(d.valid_from) FROM difference AS d),
    ARRAY(
        SELECT format(
            '%%s, subscription %%s: the change of %%s is %%s', d.company_id, d.subscription_id,
            to_char(d.valid_from AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"'), d.how
        )
        FROM difference AS d
        ORDER BY d.valid_from, d.company_id, d.subscription_id
        LIMIT %(most)s
    )
