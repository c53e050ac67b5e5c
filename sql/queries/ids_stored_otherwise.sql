-- Companies (user_id null) and users whose ids are not in the form in which ids are stored today. Users are those that
-- closed days have brought, and those of the events of open days.
SELECT company_id, user_id
FROM (
    SELECT DISTINCT company_id, NULL::text AS user_id FROM analytics_event_volume_hourly
    UNION
    SELECT company_id, user_id FROM analytics_users WHERE NOT analytics_is_id(user_id, %(unseen)s)
    UNION
    SELECT e.company_id, e.user_id
    FROM unnest(analytics_open_windows('analytics_users', now())) AS r
    CROSS JOIN LATERAL (
        SELECT DISTINCT o.company_id, o.user_id
        FROM analytics_events AS o
        WHERE o."timestamp" >= coalesce(lower(r), '-infinity') AND o."timestamp" < upper(r)
          AND NOT analytics_is_id(o.user_id, %(unseen)s)
    ) AS e
) AS named
WHERE NOT analytics_is_id(coalesce(user_id, company_id), %(unseen)s)
ORDER BY company_id COLLATE "C", user_id COLLATE "C" NULLS FIRST
