-- Whether row-level security binds this session's role, and whether it owns our tables.
SELECT
    NOT (r.rolsuper OR r.rolbypassrls),
    coalesce(
        (SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class AS c WHERE c.oid = to_regclass('analytics_events')), false
    )
FROM pg_roles AS r
WHERE r.rolname = current_user
