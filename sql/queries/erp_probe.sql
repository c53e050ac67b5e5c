-- How many rows lie after an instant, and the newest of them: cheap, and another answer whenever there is something
-- to read.
SELECT count(*) AS rows, max(cursor_at) AS newest, now() AS at
FROM (
{source}
) AS source
WHERE cursor_at >= %(since)s AND cursor_at < now()
