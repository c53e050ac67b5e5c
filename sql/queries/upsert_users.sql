-- Users seen in a window. Repeating it, in any order of windows, gives the same table.
INSERT INTO analytics_users AS known (company_id, user_id, first_seen, deleted_at)
SELECT
    company_id,
    user_id,
    min("timestamp"),
    max("timestamp") FILTER (WHERE event_type = 'user.deleted')
FROM analytics_events
WHERE "timestamp" >= %(start)s AND "timestamp" < %(end)s AND user_id IS NOT NULL
GROUP BY company_id, user_id
ON CONFLICT (company_id, user_id) DO UPDATE SET
    first_seen = least(known.first_seen, excluded.first_seen),
    deleted_at = greatest(known.deleted_at, excluded.deleted_at)
WHERE (least(known.first_seen, excluded.first_seen), greatest(known.deleted_at, excluded.deleted_at))
    IS DISTINCT FROM (known.first_seen, known.deleted_at)
