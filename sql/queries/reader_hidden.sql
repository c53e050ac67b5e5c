-- Which of the relations that are not for analytics_reader it may read all the same.
SELECT name
FROM unnest(%(relations)s::text[]) AS name
WHERE has_any_column_privilege('analytics_reader', to_regclass(name), 'SELECT')
ORDER BY name
