-- The companies of a metric table and the first period each has a row for, without reading all of their rows.
WITH RECURSIVE company AS (
    (SELECT m.company_id FROM {table} AS m ORDER BY m.company_id LIMIT 1)
    UNION ALL
    SELECT (SELECT m.company_id FROM {table} AS m WHERE m.company_id > c.company_id ORDER BY m.company_id LIMIT 1)
    FROM company AS c
    WHERE c.company_id IS NOT NULL
)
SELECT c.company_id, f.period_start
FROM company AS c
CROSS JOIN LATERAL (
    SELECT m.period_start
    FROM {table} AS m
    WHERE m.company_id = c.company_id AND m.granularity = %(granularity)s
    ORDER BY m.period_start
    LIMIT 1
) AS f
ORDER BY c.company_id
