-- What stands in the database of each part of the schema that migrations apply again, as a checksum: it differs when
-- anything was dropped, altered, granted or revoked by hand. Reads the catalog, and locks nothing but against DDL.
WITH roles AS (
    SELECT r.rolname
    FROM pg_roles AS r
    WHERE r.rolname IN (
        'analytics_reader', 'analytics_api', 'analytics_writer', 'analytics_operator', 'analytics_analyst'
    )
)
SELECT 'functions' AS part, md5(string_agg(
    concat_ws(E'\n', pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc')), E'\n'
    ORDER BY p.proname, p.oid::regprocedure::text
)) AS state
FROM pg_proc AS p
WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'analytics\_%' AND p.prokind IN ('f', 'p')
UNION ALL
SELECT 'views', md5(string_agg(
    concat_ws(E'\n', c.relname, pg_get_viewdef(c.oid), c.reloptions::text, obj_description(c.oid, 'pg_class')), E'\n'
    ORDER BY c.relname
))
FROM pg_class AS c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relname LIKE 'analytics\_%' AND c.relkind = 'v'
  AND NOT EXISTS (
      SELECT FROM timescaledb_information.continuous_aggregates AS a
      WHERE a.view_schema = current_schema() AND a.view_name = c.relname
  )
UNION ALL
SELECT 'access', md5(concat_ws(E'\n',
    (SELECT string_agg(r.rolname, ' ' ORDER BY r.rolname) FROM roles AS r),
    pg_has_role(to_regrole('analytics_api'), to_regrole('analytics_reader'), 'MEMBER')::text,
    (
        SELECT string_agg(concat_ws(' ', c.relname, c.relacl::text), E'\n' ORDER BY c.relname)
        FROM pg_class AS c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relname LIKE 'analytics\_%'
          AND c.relkind IN ('r', 'p', 'v', 'm')
    ),
    (
        SELECT string_agg(
            concat_ws(' ', p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner))::text), E'\n'
            ORDER BY p.proname, p.oid::regprocedure::text
        )
        FROM pg_proc AS p
        WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'analytics\_%'
    )
))
UNION ALL
SELECT 'row_security', md5(concat_ws(E'\n',
    (SELECT string_agg(r.rolname, ' ' ORDER BY r.rolname) FROM roles AS r),
    string_agg(
        concat_ws(
            ' ', c.relname, p.polname, p.polcmd, p.polpermissive, p.polroles::regrole[]::text, pg_get_expr(p.polqual, p.polrelid),
            pg_get_expr(p.polwithcheck, p.polrelid)
        ),
        E'\n' ORDER BY c.relname, p.polname
    )
))
FROM pg_policy AS p
JOIN pg_class AS c ON c.oid = p.polrelid
WHERE (c.oid = 'analytics_company_grants'::regclass AND p.polname = 'own_grants')
   OR (c.oid IN (
           'analytics_revenue_metrics'::regclass, 'analytics_mrr_movements'::regclass,
           'analytics_user_metrics'::regclass
       ) AND p.polname IN ('own_companies', 'every_company'))
UNION ALL
SELECT 'api', md5(concat_ws(E'\n',
    (SELECT n.nspacl::text FROM pg_namespace AS n WHERE n.nspname = 'analytics_api'),
    (
        SELECT string_agg(
            concat_ws(E'\n', pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc'), p.proacl::text), E'\n'
            ORDER BY p.proname, p.oid::regprocedure::text
        )
        FROM pg_proc AS p
        WHERE p.pronamespace = to_regnamespace('analytics_api')
    ),
    -- They are made from these.
    (
        SELECT string_agg(
            concat_ws(' ', p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)), E'\n'
            ORDER BY p.proname, p.oid::regprocedure::text
        )
        FROM pg_proc AS p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND EXISTS (
              SELECT FROM pg_proc AS g
              WHERE g.pronamespace = to_regnamespace('analytics_api') AND g.proname = p.proname
          )
    )
))
