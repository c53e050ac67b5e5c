-- name: company_is_known
SELECT analytics_company_is_known(%(company_id)s)
