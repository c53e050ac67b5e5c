-- The stored rows of a metric's closed periods, those known to be stale, outdated or kept left out, beside what the
-- definitions give now. What they stand on may have changed since, and be noted nowhere yet but in a log: differences of
-- such periods are counted apart. Table and function come in by name.
WITH closed AS MATERIALIZED (
    SELECT
        m.period_start, m.period_end, m.computed_at,
        EXISTS (SELECT FROM analytics_metric_changes AS c WHERE analytics_is_stale(m, c)) AS is_stale
    FROM analytics_metric_periods AS m
    WHERE m.metric = %(metric)s AND m.granularity = %(granularity)s
      AND m.period_start >= %(before)s AND m.period_start < %(end)s
      AND m.definitions_version = %(version)s AND m.currency = %(currency)s
      AND NOT analytics_is_kept(m, %(horizon)s)
),
period AS MATERIALIZED (
    SELECT
        p.period_start, p.period_end, p.computed_at,
        -- The period before counts, too, as far as it is closed: growth and churn are told by it. One that never was is
        -- in the logs whatever happens.
        EXISTS (SELECT FROM closed AS b WHERE b.is_stale AND b.period_end = p.period_start)
        OR EXISTS (
            SELECT
            FROM unnest(%(stale_first)s::timestamptz[], %(stale_last)s::timestamptz[]) AS s (first_instant, last_instant)
            WHERE s.first_instant < p.period_end
              AND s.last_instant >= coalesce(
                  (SELECT b.period_start FROM closed AS b WHERE b.period_end = p.period_start), p.period_start
              )
        )
        -- What is compared with the year before stands on that, too.
        OR %(metric)s = 'mrr_movements' AND EXISTS (
            SELECT
            FROM analytics_year_before(p.period_start, p.period_end) AS y
            WHERE EXISTS (
                SELECT
                FROM unnest(
                    %(stale_first)s::timestamptz[], %(stale_last)s::timestamptz[]
                ) AS s (first_instant, last_instant)
                WHERE s.first_instant < y.period_end AND s.last_instant >= y.period_start
            ) OR EXISTS (
                SELECT
                FROM analytics_metric_periods AS b
                JOIN analytics_metric_changes AS c ON analytics_is_stale(b, c)
                WHERE b.metric = 'revenue_metrics' AND b.granularity = %(granularity)s
                  AND b.period_start >= y.period_start AND b.period_start < y.period_end
            )
        ) AS has_changed_events
    FROM closed AS p
    WHERE NOT p.is_stale AND p.period_start >= %(start)s
),
wanted AS MATERIALIZED (
    SELECT f.company_id, f.period_start, to_jsonb(f) AS figures
    FROM {rows}(%(granularity)s, %(start)s, %(end)s, %(currency)s, %(version)s) AS f
    WHERE f.period_start IN (SELECT p.period_start FROM period AS p)
),
stored AS MATERIALIZED (
    SELECT s.company_id, s.period_start, to_jsonb(s) - 'computed_at' AS figures
    FROM {table} AS s
    WHERE s.granularity = %(granularity)s AND s.period_start IN (SELECT p.period_start FROM period AS p)
),
differing AS MATERIALIZED (
    SELECT
        coalesce(w.company_id, s.company_id) AS company_id,
        coalesce(w.period_start, s.period_start) AS period_start,
        CASE
            WHEN w.figures IS NULL THEN 'stored, but not due'
            WHEN s.figures IS NULL THEN 'due, but not stored'
            ELSE (
                SELECT string_agg(format('%%s is %%s stored and %%s due', k, s.figures -> k, w.figures -> k), ', ')
                FROM jsonb_object_keys(w.figures) AS k
                WHERE s.figures -> k IS DISTINCT FROM w.figures -> k
            )
        END AS how
    FROM wanted AS w
    FULL JOIN stored AS s ON s.company_id = w.company_id AND s.period_start = w.period_start
    WHERE w.figures IS DISTINCT FROM s.figures
),
difference AS MATERIALIZED (
    SELECT
        d.company_id, d.period_start, d.how,
        p.has_changed_events
        -- Days that users or subscriptions have not taken in are read as they are, and have got an event since.
        OR EXISTS (
            SELECT
            FROM unnest(
                analytics_open_windows('analytics_users', p.period_end)
                + analytics_open_windows('analytics_subscriptions', p.period_end)
            ) AS r
            CROSS JOIN LATERAL (
                SELECT
                FROM analytics_events AS e
                WHERE e."timestamp" >= coalesce(lower(r), '-infinity') AND e."timestamp" < upper(r)
                  AND e.company_id = d.company_id
                  -- An event bears the time at which its transaction began.
                  AND e.ingested_at > p.computed_at - interval '1 hour'
                LIMIT 1
            ) AS e
        )
        -- Whose a subscription is that no event has named a user of may be said by an event of any later day.
        OR EXISTS (
            SELECT
            FROM analytics_subscriptions AS s
            CROSS JOIN unnest(analytics_open_windows('analytics_subscriptions', 'infinity')) AS r
            JOIN analytics_events AS e
                ON e."timestamp" >= coalesce(lower(r), '-infinity') AND e."timestamp" < upper(r)
               AND e.company_id = s.company_id AND e.metadata ->> 'subscription_id' = s.subscription_id
            WHERE %(metric)s <> 'user_metrics'
              AND s.company_id = d.company_id AND s.user_id IS NULL AND s.valid_from < p.period_end
              AND e.category = 'subscription' AND e.user_id IS NOT NULL
        ) AS has_changed
    FROM differing AS d
    JOIN period AS p ON p.period_start = d.period_start
)
SELECT
    (SELECT count(*) FROM period),
    (SELECT count(*) FROM stored),
    (SELECT count(*) FROM difference AS d WHERE NOT d.has_changed),
    ARRAY(
        SELECT format(
            '%%s, %%s: %%s', d.company_id, to_char(d.period_start AT TIME ZONE 'UTC', 'YYYY-MM-DD'), d.how
        )
        FROM difference AS d
        WHERE NOT d.has_changed
        ORDER BY d.period_start, d.company_id
        LIMIT %(most)s
    ),
    ARRAY(
        SELECT d.period_start FROM difference AS d WHERE d.has_changed
        UNION
        SELECT c.period_start FROM closed AS c WHERE c.is_stale AND c.period_start >= %(start)s
        ORDER BY 1
    )
