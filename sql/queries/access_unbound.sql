-- Readers whose company no grant says: those that name it themselves, as members of analytics_api, and those that see
-- nothing. Who bypasses row-level security, or owns the tables, needs no grant.
SELECT r.rolname, coalesce(pg_has_role(r.oid, to_regrole('analytics_api'), 'MEMBER'), false)
FROM pg_roles AS r
CROSS JOIN (SELECT c.relowner FROM pg_class AS c WHERE c.oid = 'analytics_company_grants'::regclass) AS t
WHERE pg_has_role(r.oid, 'analytics_reader', 'MEMBER')
  AND r.rolname NOT IN ('analytics_reader', 'analytics_api')
  AND NOT r.rolsuper AND NOT r.rolbypassrls AND NOT pg_has_role(r.oid, t.relowner, 'MEMBER')
  AND NOT EXISTS (
      SELECT FROM analytics_company_grants AS g
      WHERE to_regrole(quote_ident(g.role_name)) = g.role_oid
        AND pg_has_role(r.oid, to_regrole(quote_ident(g.role_name)), 'MEMBER')
  )
ORDER BY r.rolname
