-- Instants at which only an id decides which of several changes of a subscription counts, those after the retention
-- horizon, the newest first, with how many there are.
SELECT s.company_id, s.subscription_id, s.valid_from, count(*) OVER ()
FROM analytics_subscription_rows(NULL, analytics_pending_subscriptions(NULL)) AS s
WHERE s.decided_by_id
  AND (%(horizon)s::timestamptz IS NULL OR s.valid_from >= %(horizon)s)
ORDER BY s.valid_from DESC, s.company_id, s.subscription_id
LIMIT %(most)s
