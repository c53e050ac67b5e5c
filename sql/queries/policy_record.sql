-- Keep what is wanted of one policy, and who says so.
INSERT INTO analytics_policies AS p (name, value, origin, client) VALUES (%(name)s, %(value)s, %(origin)s, %(client)s)
ON CONFLICT (name) DO UPDATE
SET value = excluded.value, origin = excluded.origin, client = excluded.client, set_by = session_user, set_at = now()
