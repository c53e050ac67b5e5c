-- Whom a session waits for in the end: directly, or through others that wait themselves. A prepared transaction has the
-- process 0. What a role may not see of another's session comes as null, or as PostgreSQL says it.
WITH RECURSIVE waits AS (
    SELECT %(pid)s::integer AS pid
    UNION
    SELECT blocking.pid FROM waits AS w CROSS JOIN unnest(pg_blocking_pids(w.pid)) AS blocking (pid)
)
SELECT
    w.pid,
    coalesce(a.usename, a.backend_type) AS role,
    nullif(a.application_name, '') AS application,
    coalesce(a.client_hostname, host(a.client_addr)) AS client,
    coalesce(a.xact_start, a.backend_start) AS since,
    a.xact_start IS NOT NULL AS in_transaction,
    a.state <> 'active' AS idle,
    a.state_change AS state_since,
    a.query AS statement
FROM waits AS w
LEFT JOIN pg_stat_activity AS a ON a.pid = w.pid
WHERE w.pid <> %(pid)s AND cardinality(pg_blocking_pids(w.pid)) = 0
ORDER BY a.xact_start, w.pid
