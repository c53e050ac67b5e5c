-- Which closed partitions the raw events can no longer change, by the retention horizon as it is now; NULL: none.
UPDATE analytics_partitions AS p
SET is_final = NOT p.is_final
WHERE p.is_final <> (p.closed_at IS NOT NULL AND p.window_start < coalesce(%(horizon)s, '-infinity'::timestamptz))
