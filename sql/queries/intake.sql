-- name: ingest_reject_counts
INSERT INTO analytics_ingest_reject_counts (source, kind, company_id, records, records_hash)
SELECT source, kind, company_id, records, records_hash
FROM jsonb_to_recordset(%s::jsonb) AS left_out (
    source       text,
    kind         text,
    company_id   text,
    records      bigint,
    records_hash text
)
ON CONFLICT (records_hash) DO NOTHING


-- name: ingest_rejects
INSERT INTO analytics_ingest_rejects (source, line_number, kind, reason, company_id, record, record_hash)
SELECT source, line_number, kind, reason, company_id, record, record_hash
FROM jsonb_to_recordset(%s::jsonb) AS reject (
    source      text,
    line_number bigint,
    kind        text,
    reason      text,
    company_id  text,
    record      text,
    record_hash text
)
ON CONFLICT (source, line_number, record_hash) DO NOTHING
