-- Functions that every role may call: ours, and of TimescaleDB's the named ones. The embedded server has one login.
SELECT p.oid::regprocedure::text, NOT x.of_timescaledb AS is_ours
FROM pg_proc AS p
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM pg_depend AS d
        JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'timescaledb'
        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass
          AND d.deptype = 'e'
    ) AS of_timescaledb
) AS x
WHERE has_function_privilege('public', p.oid, 'EXECUTE')
  AND CASE
      WHEN x.of_timescaledb THEN p.proname = ANY (%(timescaledb)s) AND version() NOT LIKE '%%emcc%%'
      ELSE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'analytics\_%%'
  END
ORDER BY 1
