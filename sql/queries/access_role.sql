-- The role, whether row-level security binds it, and whether it is a reader already.
SELECT r.rolsuper OR r.rolbypassrls, pg_has_role(r.oid, 'analytics_reader', 'MEMBER')
FROM pg_roles AS r
WHERE r.rolname = %(role)s
