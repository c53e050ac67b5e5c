-- How the last message to operators went: when it was tried, and what went wrong with all or some of them (null: nothing).
SELECT problem
FROM analytics_notifications
WHERE attempts > 0 AND next_attempt_at > now() - %(look_back)s
ORDER BY next_attempt_at DESC
LIMIT 1
