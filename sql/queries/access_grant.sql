INSERT INTO analytics_company_grants AS g (role_name, company_id, role_oid)
VALUES (%(role)s, %(company)s, to_regrole(quote_ident(%(role)s))::oid)
ON CONFLICT (role_name, company_id) DO UPDATE SET role_oid = excluded.role_oid, granted_at = now()
WHERE g.role_oid IS DISTINCT FROM excluded.role_oid
