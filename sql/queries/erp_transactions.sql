-- Transactions of the ERP's database that are under way. Every role may see them: each holds the lock on its own
-- virtual id. When they began is shown for the role's own ones, or to members of pg_read_all_stats.
SELECT 'transaction ' || lock.virtualtransaction, activity.xact_start, false
FROM pg_locks AS lock
JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
WHERE lock.locktype = 'virtualxid'
  AND lock.mode = 'ExclusiveLock'
  AND lock.pid <> pg_backend_pid()
  AND activity.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
  -- Vacuum and its like belong to nobody, and write no rows.
  AND activity.usesysid IS NOT NULL
UNION ALL
SELECT 'prepared ' || transaction::text, NULL, true
FROM pg_prepared_xacts
WHERE database = current_database()
