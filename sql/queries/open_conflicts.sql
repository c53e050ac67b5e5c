-- Contradictions that nobody has decided on, newest first, with how many there are: records of files, commands and
-- programs, and rows of the ERP that changed after they were recorded.
SELECT *, count(*) OVER ()
FROM (
    SELECT
        company_id, event_id::text AS name, "timestamp", source, NULL::text AS source_key, found_at,
        (
            SELECT string_agg(field.key, ', ' ORDER BY field.key)
            FROM jsonb_each(stored) AS field
            WHERE field.value IS DISTINCT FROM sent -> field.key
        ) AS fields
    FROM analytics_event_conflicts
    WHERE outcome = 'open'
    UNION ALL
    SELECT row ->> 'company_id', source_key, NULL, source, source_key, first_seen, reason
    FROM analytics_source_rejects
    WHERE resolved_at IS NULL AND kind = %(changed)s
) AS conflict
ORDER BY found_at DESC, name
LIMIT %(most)s
