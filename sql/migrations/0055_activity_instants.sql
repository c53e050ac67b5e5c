-- The user grain gets the first and the last instant of a user's events. Where nothing is stored and nobody depends on it
-- it is made anew at once, as in every new database. Another one keeps it as it is until
-- "analytics-pipeline db rebuild analytics_user_activity_monthly".
DO $$
DECLARE
    grants text[];
    statement text;
BEGIN
    IF EXISTS (SELECT FROM analytics_events)
       OR EXISTS (SELECT FROM analytics_partitions)
       OR EXISTS (SELECT FROM analytics_user_activity_monthly)
       OR EXISTS (
           SELECT FROM pg_attribute AS a
           WHERE a.attrelid = 'analytics_user_activity_monthly'::regclass AND a.attname = 'first_at'
       )
    THEN
        RETURN;
    END IF;
    grants := ARRAY(
        SELECT format(
            'GRANT %s ON analytics_user_activity_monthly TO %s%s',
            a.privilege_type,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
            CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
        )
        FROM pg_class AS c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        WHERE c.oid = 'analytics_user_activity_monthly'::regclass AND a.grantee <> c.relowner
    );
    BEGIN
        DROP MATERIALIZED VIEW analytics_user_activity_monthly;
    EXCEPTION
        WHEN dependent_objects_still_exist THEN RETURN;
    END;
    CREATE MATERIALIZED VIEW analytics_user_activity_monthly
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT
        time_bucket(interval '1 month', "timestamp") AS bucket,
        company_id,
        user_id,
        count(*) AS event_count,
        min("timestamp") AS first_at,
        max("timestamp") AS last_at
    FROM analytics_events
    WHERE category IN ('revenue', 'user_activity', 'crypto')
      AND event_type <> 'user.deleted'
      AND user_id IS NOT NULL
    GROUP BY 1, 2, 3
    WITH NO DATA;
    FOREACH statement IN ARRAY grants LOOP
        EXECUTE statement;
    END LOOP;
END
$$;
