-- A run of a source begins; an older one that is still at work can't write any more.
INSERT INTO analytics_source_cursors AS state (source, overlap, attempt, started_at, failures)
VALUES (%(source)s, %(overlap)s, 1, now(), 1)
ON CONFLICT (source) DO UPDATE SET
    overlap = excluded.overlap,
    attempt = state.attempt + 1,
    started_at = now(),
    -- Taken back when the run comes to its end.
    failures = state.failures + 1
RETURNING *
