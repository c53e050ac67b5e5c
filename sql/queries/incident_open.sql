-- The failures that have not recovered, as one source recorded them.
SELECT subject, last_at, details
FROM analytics_notifications
WHERE source = %(source)s AND recovered_at IS NULL
ORDER BY first_at, key
