-- What a database holds of its own, of extensions nothing, sorted: tables, views, sequences, and functions.
SELECT relation FROM (
    SELECT format('%I.%I', n.nspname, c.relname) AS relation, c.oid, 'pg_class'::regclass AS catalog
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
      AND n.nspname !~ '^(pg_|_timescaledb|timescaledb_|information_schema$)'
    UNION ALL
    SELECT format('%I.%I', n.nspname, p.proname), p.oid, 'pg_proc'::regclass
    FROM pg_proc AS p
    JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^(pg_|_timescaledb|timescaledb_|information_schema$)'
) AS own
WHERE NOT EXISTS (
    SELECT FROM pg_depend AS d WHERE d.classid = own.catalog AND d.objid = own.oid AND d.deptype = 'e'
)
ORDER BY 1
