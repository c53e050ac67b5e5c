-- What is wanted of the policies, with who set it.
SELECT name, value, origin, set_by, client, set_at FROM analytics_policies ORDER BY name
