-- The roles that a restore of this database needs: who owns something in it, or may use it, or runs a job of it. Not
-- those that every server has, and not whoever made an extension.
SELECT DISTINCT r.rolname::text
FROM (
    SELECT c.relowner AS role, a.grantee
    FROM pg_class AS c
    LEFT JOIN LATERAL aclexplode(c.relacl) AS a ON true
    WHERE c.relnamespace NOT IN (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname ~ '^(pg_|information_schema$)')
    UNION ALL
    SELECT p.proowner, a.grantee
    FROM pg_proc AS p
    LEFT JOIN LATERAL aclexplode(p.proacl) AS a ON true
    WHERE p.pronamespace NOT IN (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname ~ '^(pg_|information_schema$)')
    UNION ALL
    SELECT n.nspowner, a.grantee
    FROM pg_namespace AS n
    LEFT JOIN LATERAL aclexplode(n.nspacl) AS a ON true
    WHERE n.nspname !~ '^(pg_|information_schema$)'
    UNION ALL
    SELECT d.defaclrole, a.grantee
    FROM pg_default_acl AS d
    LEFT JOIN LATERAL aclexplode(d.defaclacl) AS a ON true
) AS named
JOIN pg_roles AS r ON r.oid IN (named.role, named.grantee)
WHERE r.rolname !~ '^pg_'
ORDER BY 1
