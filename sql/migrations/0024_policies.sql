-- What is wanted of the policies. It is kept here and not in the environment of whoever migrates: a retention that a
-- shell or a job was not given would be the default one there, and events would be dropped by accident.
CREATE TABLE IF NOT EXISTS analytics_policies (
    name   text        PRIMARY KEY CHECK (name IN ('retention', 'compress_after', 'refresh_owner')),
    value  text        NOT NULL,
    -- The environment of a new database, the policies that a database had before this table, or a command.
    origin text        NOT NULL CHECK (origin IN ('environment', 'adopted', 'command')),
    set_by text        NOT NULL DEFAULT session_user,
    client text        NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE analytics_policies IS
    'Retention, compression and who refreshes, as wanted: changed by "analytics-pipeline db policies" alone.';
