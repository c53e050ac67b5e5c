-- The next rows of a source of the ERP, in the order of time and key, after the last one that was read.
SELECT {columns}
FROM (
{source}
) AS source
CROSS JOIN LATERAL (SELECT coalesce(nullif(source_key::text, ''), ' ') COLLATE "C" AS key) AS named
WHERE cursor_at >= %(since)s
  AND cursor_at < %(until)s
  AND (cursor_at, named.key) > (%(since)s, %(after_key)s::text COLLATE "C")
ORDER BY cursor_at, named.key
LIMIT %(rows)s
