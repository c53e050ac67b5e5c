-- The newest event that is not of the future, and whether the server is the embedded one.
SELECT max("timestamp"), version() LIKE '%%emcc%%'
FROM analytics_events
WHERE "timestamp" <= now() + %(tolerance)s::interval
