-- Which relations the roles may read that are not for them, with the role.
SELECT role, relation
FROM unnest(%(roles)s::text[]) AS role
CROSS JOIN unnest(%(relations)s::text[]) AS relation
WHERE has_any_column_privilege(role, to_regclass(relation), 'SELECT')
ORDER BY role, relation
