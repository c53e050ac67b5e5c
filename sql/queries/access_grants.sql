-- A grant holds while its role has the number and the name that it had.
SELECT g.role_name, g.company_id, g.granted_at, coalesce(to_regrole(quote_ident(g.role_name)) = g.role_oid, false)
FROM analytics_company_grants AS g
WHERE %(role)s::text IS NULL OR g.role_name = %(role)s
ORDER BY g.role_name, g.company_id NULLS FIRST
