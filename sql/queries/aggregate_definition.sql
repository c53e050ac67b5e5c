-- The query a continuous aggregate is filled by, as this server prints it.
SELECT pg_get_viewdef(format('%%I.%%I', direct_view_schema, direct_view_name)::regclass)
FROM _timescaledb_catalog.continuous_agg
WHERE user_view_name = %(name)s
