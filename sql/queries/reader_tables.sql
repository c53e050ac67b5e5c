-- How the tables with a company a row are guarded, and what analytics_reader may do there.
SELECT
    name,
    t.relrowsecurity AND t.relforcerowsecurity,
    ARRAY(SELECT p.polname::text FROM pg_policy AS p WHERE p.polrelid = t.oid ORDER BY p.polname),
    has_table_privilege('analytics_reader', t.oid, 'SELECT'),
    has_table_privilege('analytics_reader', t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
FROM unnest(%(tables)s::text[]) AS name
JOIN pg_class AS t ON t.oid = to_regclass(name)
ORDER BY name
