-- The newest messages of late that were not delivered, or may not have been, with the reason.
SELECT outbox_id, CASE channel WHEN 'mail' THEN '' ELSE channel || ':' END || target, problem
FROM analytics_outbox
WHERE state = %(state)s AND settled_at > now() - %(look_back)s
ORDER BY outbox_id DESC
LIMIT %(most)s
