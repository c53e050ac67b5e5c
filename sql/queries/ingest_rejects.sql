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
