-- How far the data of each company, or (each false) of all of them together, reaches.
SELECT c.company_id, analytics_data_through(c.company_id)
FROM unnest(%(companies)s::text[]) AS c (company_id)
