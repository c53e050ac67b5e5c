-- What the HTTP API stands on: the schema in which its role finds the functions it may call (sql/api.sql), tokens, and
-- a number that rises with every change of what answers are made of.
CREATE SCHEMA IF NOT EXISTS analytics_api;

COMMENT ON SCHEMA analytics_api IS
    'Functions for members of the role analytics_api: those that define the figures, bound to the company of the session.';

CREATE TABLE IF NOT EXISTS analytics_api_tokens (
    token_id text PRIMARY KEY,
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    label text NOT NULL,
    company_id text CHECK (btrim(company_id) <> ''),
    scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz
);

COMMENT ON TABLE analytics_api_tokens IS
    'Tokens of the API by their SHA-256: whom each is for, what it may be used for, and how long.';
COMMENT ON COLUMN analytics_api_tokens.company_id IS 'The company it is bound to; null: operators, who read every company.';

-- A row for each of the writers that are at work at the same time, so that none waits for another; their sum counts.
CREATE TABLE IF NOT EXISTS analytics_data_versions (
    slot integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version bigint NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE analytics_data_versions IS
    'How often events, rates and what figures stand on were changed (analytics_data_version).';

-- As in sql/functions/data_version.sql, which is applied after the migrations.
CREATE OR REPLACE FUNCTION analytics_note_data_change()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $$
BEGIN
    INSERT INTO analytics_data_versions (version) VALUES (1);
    RETURN NULL;
END
$$;

-- Of statements, not of rows: a batch is one.
DO $$
DECLARE
    changed text;
BEGIN
    FOREACH changed IN ARRAY ARRAY[
        'analytics_events', 'analytics_fx_rates', 'analytics_users', 'analytics_user_deletions',
        'analytics_subscriptions', 'analytics_closed_windows', 'analytics_partitions', 'analytics_metric_periods',
        'analytics_report_documents', 'analytics_retention_horizon'
    ] LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER analytics_data_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION analytics_note_data_change()',
            changed
        );
    END LOOP;
END
$$;
