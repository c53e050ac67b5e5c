-- What ALTER DATABASE has set, which a dump leaves out.
SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
FROM pg_db_role_setting AS s
CROSS JOIN LATERAL unnest(s.setconfig) AS c
WHERE s.setrole = 0 AND s.setdatabase = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
  AND split_part(c, '=', 1) <> 'timescaledb.restoring'
ORDER BY 1
