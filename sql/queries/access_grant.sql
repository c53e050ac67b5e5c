INSERT INTO analytics_company_grants (role_name, company_id)
VALUES (%(role)s, %(company)s)
ON CONFLICT (role_name, company_id) DO NOTHING
