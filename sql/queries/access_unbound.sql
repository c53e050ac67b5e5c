-- Readers without a grant, of their own or through a role they are in: they name their company themselves.
-- With a role only those that are in it. Who bypasses row-level security needs no grant.
SELECT r.rolname
FROM pg_roles AS r
WHERE pg_has_role(r.oid, 'analytics_reader', 'MEMBER')
  AND r.rolname NOT IN ('analytics_reader', current_user)
  AND NOT r.rolsuper AND NOT r.rolbypassrls
  AND (%(role)s::text IS NULL OR pg_has_role(r.oid, to_regrole(quote_ident(%(role)s)), 'MEMBER'))
  AND NOT EXISTS (
      SELECT FROM analytics_company_grants AS g
      WHERE pg_has_role(r.oid, to_regrole(quote_ident(g.role_name)), 'MEMBER')
  )
ORDER BY r.rolname
