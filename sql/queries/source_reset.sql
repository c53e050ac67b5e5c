-- The next pass reads from here, and a run that is under way stops. No row: it would leave rows out.
INSERT INTO analytics_source_cursors AS state (source, overlap, cursor_at)
VALUES (%(source)s, %(overlap)s, %(since)s)
ON CONFLICT (source) DO UPDATE SET
    cursor_at = excluded.cursor_at,
    pass_until = NULL,
    pass_safe = NULL,
    pass_newest = NULL,
    position_at = NULL,
    position_key = NULL,
    window_rows = NULL,
    window_newest = NULL,
    attempt = state.attempt + 1
WHERE state.cursor_at IS NULL OR excluded.cursor_at <= state.cursor_at
