-- What logins are made for: the database, who owns our tables, and whether that one is a superuser; whether this is the
-- embedded server, which knows no logins.
SELECT current_database()::text, o.rolname::text, o.rolsuper, version() LIKE '%emcc%'
FROM pg_class AS c
JOIN pg_roles AS o ON o.oid = c.relowner
WHERE c.oid = 'analytics_events'::regclass
