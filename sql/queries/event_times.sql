-- The newest event of all, and the oldest one before the first partition.
SELECT
    (SELECT max("timestamp") FROM analytics_events),
    (SELECT min("timestamp") FROM analytics_events WHERE "timestamp" < %(start)s::timestamptz)
