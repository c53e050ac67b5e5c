-- Records that ingestion turned away: nothing is lost, and the reason is kept.
CREATE TABLE IF NOT EXISTS analytics_ingest_rejects (
    source      text        NOT NULL,
    line_number bigint      NOT NULL,
    reason      text        NOT NULL,
    record      text        NOT NULL,
    record_hash text        NOT NULL,
    rejected_at timestamptz NOT NULL DEFAULT now(),
    -- The same file ingested again rejects the same records: keep each once.
    PRIMARY KEY (source, line_number, record_hash)
);

COMMENT ON TABLE analytics_ingest_rejects IS
    'Records refused by ingestion, with file, line number (from 1), reason and the text as it came.';
