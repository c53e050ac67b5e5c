-- Where the history of a source of the ERP begins, in one row.
SELECT min(cursor_at) AS first
FROM (
{source}
) AS source
LIMIT %(rows)s
