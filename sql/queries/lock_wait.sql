-- What a session waits for: the lock, and since when (null in the first moment of a wait); no row: it waits for none.
SELECT l.locktype, l.relation::regclass::text, l.waitstart
FROM pg_locks AS l
WHERE l.pid = %(pid)s AND NOT l.granted
ORDER BY l.waitstart
LIMIT 1
