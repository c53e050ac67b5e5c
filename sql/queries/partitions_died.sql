-- What a process that was ended has left of its attempts. One that nothing has failed in is taken back: it says nothing
-- against another.
UPDATE analytics_partitions AS p
SET failure = d.why, failed_attempts = p.failed_attempts - CASE WHEN d.is_taken_back THEN 1 ELSE 0 END
FROM unnest(%(runs)s::text[], %(reasons)s::text[], %(taken_back)s::boolean[]) AS d (run_id, why, is_taken_back)
WHERE p.run_id = d.run_id AND p.closed_at IS NULL AND p.failure IS NULL
