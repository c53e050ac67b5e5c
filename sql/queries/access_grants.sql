SELECT g.role_name, g.company_id, g.granted_at
FROM analytics_company_grants AS g
WHERE %(role)s::text IS NULL OR g.role_name = %(role)s
ORDER BY g.role_name, g.company_id NULLS FIRST
