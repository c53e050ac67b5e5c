-- The one way into analytics_audit.

CREATE OR REPLACE FUNCTION analytics_record_act(p_actor text, p_act text, p_subject text, p_details jsonb)
RETURNS bigint
LANGUAGE sql VOLATILE
AS $$
    INSERT INTO analytics_audit (actor, act, subject, details)
    VALUES (p_actor, p_act, p_subject, p_details)
    RETURNING audit_id
$$;

COMMENT ON FUNCTION analytics_record_act IS
    'Adds an act of an operator to analytics_audit and returns its number; the role is that of the session.';

-- Whoever may call it writes as the owner, and finds our table whatever the search path of the session is.
DO $$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION analytics_record_act(text, text, text, jsonb) SECURITY DEFINER '
        'SET search_path = pg_catalog, %I, pg_temp',
        current_schema()
    );
END
$$;
