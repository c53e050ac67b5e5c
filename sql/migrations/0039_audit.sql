-- What operators did: grants, policies, messages sent again, recipients, other names for ids, access tokens.
CREATE TABLE IF NOT EXISTS analytics_audit (
    audit_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    happened_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Who: the role that logged in, and the person behind it as far as the program knows (user@machine, or the name of
    -- an access token).
    session_role text        NOT NULL DEFAULT session_user,
    actor        text        NOT NULL,
    -- What was done, in two words (grant.add), and to whom or what.
    act          text        NOT NULL CHECK (act ~ '^[a-z_]+\.[a-z_]+$'),
    subject      text        NOT NULL,
    details      jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object')
);

CREATE INDEX IF NOT EXISTS analytics_audit_happened_at_idx ON analytics_audit (happened_at);

COMMENT ON TABLE analytics_audit IS
    'Acts of operators, one row each: only ever added to, by analytics_record_act() (docs/access.md).';

CREATE OR REPLACE FUNCTION analytics_keep_audit()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'analytics_audit is only ever added to' USING ERRCODE = 'insufficient_privilege';
END
$$;

COMMENT ON FUNCTION analytics_keep_audit IS 'Refuses to change or remove what is in analytics_audit.';

DROP TRIGGER IF EXISTS analytics_keep_audit ON analytics_audit;
CREATE TRIGGER analytics_keep_audit BEFORE UPDATE OR DELETE OR TRUNCATE ON analytics_audit
    FOR EACH STATEMENT EXECUTE FUNCTION analytics_keep_audit();
