-- How many checks judged closed partitions of a period, and which of them failed there with severity error and have
-- not passed since over that part of it.
WITH result AS MATERIALIZED (
    SELECT
        r.subject, r.check_name, r.passed, r.severity, r.checked_at,
        tstzrange(greatest(r.window_start, %(start)s), least(r.window_end, %(end)s)) AS part
    FROM analytics_check_results AS r
    WHERE r.window_start < %(end)s AND r.window_end > %(start)s
)
SELECT
    (SELECT count(DISTINCT (r.subject, r.check_name)) FROM result AS r),
    ARRAY(
        SELECT DISTINCT format('%%s of %%s', r.check_name, r.subject)
        FROM result AS r
        WHERE NOT r.passed AND r.severity = 'error'
          AND NOT coalesce((
              SELECT range_agg(later.part) @> r.part
              FROM result AS later
              WHERE later.subject = r.subject AND later.check_name = r.check_name AND later.checked_at > r.checked_at
          ), false)
        ORDER BY 1
    )
