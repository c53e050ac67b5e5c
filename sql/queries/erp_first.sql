-- Where the history of a source of the ERP begins.
SELECT min(cursor_at) AS first
FROM (
{source}
) AS source
