-- A row that is never read, if there is one.
SELECT 1 AS found
FROM (
{source}
) AS source
WHERE cursor_at IS NULL
LIMIT %(rows)s
