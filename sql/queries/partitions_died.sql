-- What a run whose process was ended has left of its attempts. One that says nothing against another is taken back,
-- whatever has begun since; one that had failed before stays.
UPDATE analytics_partitions AS p
SET failure = CASE WHEN p.run_id = %(run_id)s THEN %(why)s ELSE p.failure END,
    attempts = CASE WHEN %(is_taken_back)s THEN array_remove(p.attempts, %(run_id)s) ELSE p.attempts END
WHERE %(run_id)s = ANY (p.attempts) AND p.closed_at IS NULL AND (p.run_id <> %(run_id)s OR p.failure IS NULL)
