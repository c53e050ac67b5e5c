-- Which of the named columns and functions this server lacks, as people write them; a relation that is missing
-- altogether stands for its columns.
SELECT DISTINCT CASE WHEN r.oid IS NULL THEN w.relation ELSE w.relation || '.' || w.column_name END AS missing
FROM unnest(%(relations)s::text[], %(columns)s::text[]) AS w (relation, column_name)
LEFT JOIN to_regclass(w.relation) AS r (oid) ON true
WHERE NOT EXISTS (
    SELECT FROM pg_attribute AS a
    WHERE a.attrelid = r.oid AND a.attname = w.column_name AND a.attnum > 0 AND NOT a.attisdropped
)
UNION ALL
SELECT f FROM unnest(%(functions)s::text[]) AS f WHERE to_regprocedure(f) IS NULL
ORDER BY 1
