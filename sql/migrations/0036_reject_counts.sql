-- Of each source and kind of reason the first rejects are kept whole (analytics_ingest_rejects); the others are counted.
CREATE TABLE IF NOT EXISTS analytics_ingest_reject_counts (
    -- Of source, kind, company and every record: the same file again is counted once.
    records_hash text        PRIMARY KEY,
    source       text        NOT NULL,
    kind         text        NOT NULL,
    -- NULL: none, or one that no reject names which is kept.
    company_id   text,
    records      bigint      NOT NULL CHECK (records > 0),
    rejected_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS analytics_ingest_reject_counts_rejected_at_idx
    ON analytics_ingest_reject_counts (rejected_at);

COMMENT ON TABLE analytics_ingest_reject_counts IS
    'Records refused by ingestion beyond those that are kept: how many, by source, kind of reason and company.';
