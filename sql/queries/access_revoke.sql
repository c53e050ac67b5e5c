DELETE FROM analytics_company_grants
WHERE role_name = %(role)s AND company_id IS NOT DISTINCT FROM %(company)s
