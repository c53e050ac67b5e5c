-- The days (UTC) on which a company, or a user of it, has events.
SELECT DISTINCT date_trunc('day', "timestamp", 'UTC')
FROM analytics_events
WHERE company_id = %(company)s AND (%(user)s::text IS NULL OR user_id = %(user)s)
ORDER BY 1
