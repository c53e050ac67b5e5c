-- What reports tell of rejects: the kind of reason, which holds no value of a record, and whose record it was.
ALTER TABLE analytics_ingest_rejects ADD COLUMN IF NOT EXISTS kind text;
ALTER TABLE analytics_ingest_rejects ADD COLUMN IF NOT EXISTS company_id text;
ALTER TABLE analytics_source_rejects ADD COLUMN IF NOT EXISTS kind text;

-- What was turned away in a month is counted by the month's reports.
CREATE INDEX IF NOT EXISTS analytics_ingest_rejects_rejected_at_idx ON analytics_ingest_rejects (rejected_at);

COMMENT ON COLUMN analytics_ingest_rejects.kind IS
    'The reason without the values of the record; null in rows from before this column.';
COMMENT ON COLUMN analytics_ingest_rejects.company_id IS
    'The company that the record names, null where it could not be read.';
COMMENT ON COLUMN analytics_source_rejects.kind IS
    'The reason without the values of the row; null in rows from before this column.';
