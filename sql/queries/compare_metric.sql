-- The stored rows of a metric's closed periods, those known to be stale, outdated or kept left out, beside what the
-- definitions give now. Table and function come in by name.
WITH period AS MATERIALIZED (
    SELECT m.period_start
    FROM analytics_metric_periods AS m
    WHERE m.metric = %(metric)s AND m.granularity = %(granularity)s
      AND m.period_start >= %(start)s AND m.period_start < %(end)s
      AND m.definitions_version = %(version)s AND m.currency = %(currency)s
      AND NOT EXISTS (SELECT FROM analytics_metric_changes AS c WHERE analytics_is_stale(m, c))
      AND NOT analytics_is_kept(m, %(horizon)s)
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
difference AS (
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
)
SELECT
    (SELECT count(*) FROM period),
    (SELECT count(*) FROM stored),
    (SELECT count(*) FROM difference),
    ARRAY(
        SELECT format(
            '%%s, %%s: %%s', d.company_id, to_char(d.period_start AT TIME ZONE 'UTC', 'YYYY-MM-DD'), d.how
        )
        FROM difference AS d
        ORDER BY d.period_start, d.company_id
        LIMIT %(most)s
    )
