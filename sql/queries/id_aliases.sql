-- Former names of companies, and of users under the present name of their company.
SELECT company_id, former_user_id, present
FROM analytics_id_aliases
