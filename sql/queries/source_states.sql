-- How far each source has been read, with its open rejects and whether one of them is due to be tried again.
SELECT
    state.*,
    rejects.open AS open_rejects,
    rejects.due AS has_due_rejects
FROM analytics_source_cursors AS state
CROSS JOIN LATERAL (
    SELECT count(*) AS open, coalesce(bool_or(retry_at <= now()), false) AS due
    FROM analytics_source_rejects AS reject
    WHERE reject.source = state.source AND reject.resolved_at IS NULL
) AS rejects
