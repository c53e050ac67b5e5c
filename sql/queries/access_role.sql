-- A role, and what a grant would mean to it: whether row-level security binds it at all, whether it reads every
-- company or names its company anyway, and who else would read by the grant as its member. Whoever owns the tables or
-- bypasses row-level security reads everything without it.
SELECT
    r.rolsuper OR r.rolbypassrls AS is_unbound,
    NOT r.rolsuper AND (
        pg_has_role(r.oid, t.relowner, 'MEMBER') OR pg_has_role(r.oid, 'pg_read_all_data', 'MEMBER')
        OR coalesce(pg_has_role(r.oid, to_regrole('analytics_operator'), 'MEMBER'), false)
        OR coalesce(pg_has_role(r.oid, to_regrole('analytics_analyst'), 'MEMBER'), false)
    ) AS sees_everything,
    coalesce(pg_has_role(r.oid, to_regrole('analytics_api'), 'MEMBER'), false) AS names_its_company,
    coalesce(pg_has_role(r.oid, to_regrole('analytics_reader'), 'MEMBER'), false) AS is_reader,
    ARRAY(
        SELECT m.rolname::text
        FROM pg_roles AS m
        WHERE m.oid <> r.oid AND pg_has_role(m.oid, r.oid, 'MEMBER')
          AND NOT m.rolsuper AND NOT m.rolbypassrls AND NOT pg_has_role(m.oid, t.relowner, 'MEMBER')
        ORDER BY m.rolname
    ) AS members
FROM pg_roles AS r
CROSS JOIN (SELECT c.relowner FROM pg_class AS c WHERE c.oid = 'analytics_company_grants'::regclass) AS t
WHERE r.rolname = %(role)s
