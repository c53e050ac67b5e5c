-- What the functions, views and access of the schema were when they were last brought to a version: text and outcome.
-- A migration that finds both unchanged leaves them alone, because replacing them locks out whoever reads.
CREATE TABLE IF NOT EXISTS analytics_schema_parts (
    part       text        PRIMARY KEY,
    sha256     text        NOT NULL,
    state      text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE analytics_schema_parts IS
    'Checksums of the SQL files that each migration applies again, and of what stood in the database after that.';
