-- Which migrations this database has, and what each file held when it was applied.
CREATE TABLE IF NOT EXISTS analytics_schema_migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
